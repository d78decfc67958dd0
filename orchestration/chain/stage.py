"""A stage of the chain, the arguments of its function, and the errors of a chain."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hia.config import Config
from hia.io.hashing import json_digest
from orchestration.names import PREPROCESS, STORE_NOTE

if TYPE_CHECKING:  # both take a while to import, which a plan need not wait for
    from orchestration.tracking import Run
    from orchestration.tracking.journal import JournalWriter


class ChainError(ValueError):
    """The chain cannot begin, or cannot go on, for a reason that the user can change."""


class ExplainedFailure(RuntimeError):
    """A failure whose message alone tells the user what is wrong."""


class StageFailed(ExplainedFailure):
    """A stage failed; the message names it and says why, `__cause__` is the error."""


@dataclass(frozen=True)
class StageRun:
    """The arguments of a stage's function.

    folder: its own, absolute; it may hold what an earlier, killed execution left. inputs: folders of earlier stages by
    name. fingerprint: its own. show: whether to show progress.
    """

    folder: Path
    inputs: Mapping[str, Path]
    journal: "JournalWriter"
    run: "Run"
    config: Config
    fingerprint: str
    show: bool = False

    @property
    def store(self) -> str:
        """Path or URL of the clip store."""
        return store_of(self.inputs[PREPROCESS])


@dataclass(frozen=True)
class ChainStage:
    """A function of a part of the configuration and of earlier stages' folders that fills a folder of its own.

    version: raised when the same input would give another result. reads: plain values, all that decides the result
    besides the inputs. inputs: names of earlier stages. run: does the work, returns what it measured.
    required_outputs: names in the folder without which a finished stage does not count as finished.
    temporary_outputs: names in the folder that only an unfinished one needs, such as checkpoints.
    progress_of: how far an unfinished one is, in words, such as `step 300 of 1000`; empty for nowhere.
    output: fingerprint of the content that later stages read; None for the stage's own. outdated: why a finished one
    must be brought up to date, such as `2 new videos`, or None. tracked: its result lies in the tracking server, and
    not in its folder. uses_cluster: whether it needs Ray.
    """

    name: str
    version: int
    reads: Mapping[str, Any]
    inputs: tuple[str, ...]
    run: Callable[[StageRun], dict[str, float]]
    required_outputs: tuple[str, ...] = ()
    temporary_outputs: tuple[str, ...] = ()
    progress_of: Callable[[Path], str] | None = None
    output: Callable[[Path], str] | None = None
    outdated: Callable[[Path, Mapping[str, Path]], str | None] | None = None
    tracked: bool = False
    uses_cluster: bool = True


def fingerprint(stage: ChainStage, inputs: Mapping[str, str]) -> str:
    """Hex digest of all that decides a stage's result. inputs: content fingerprints of its inputs, by name."""
    return json_digest(stage.name, stage.version, stage.reads, {name: inputs[name] for name in stage.inputs})


def store_of(folder: Path) -> str:
    """Path or URL of the clip store that the finished stage in this folder made or was given."""
    location = json.loads((folder / STORE_NOTE).read_text(encoding="utf-8"))["location"]
    return location if "://" in location else str(folder / location)
