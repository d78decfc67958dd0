"""What is known of the trials of a sweep: a file for each, which those who come later read."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orchestration.chain import Executed
from orchestration.chain.records import write_json
from orchestration.sweeps.sweep import Trial

TRIALS = "trials"
State = Literal["running", "done", "stopped", "failed"]
# Trials that are not run again; failed ones are.
FINAL = ("done", "stopped")


@dataclass(frozen=True)
class Record:
    """A trial as far as it has come.

    state: `stopped` when the scheduler has given it up. measured: the evaluation's metrics by share of the training's
    iterations (as text, since JSON has no other keys). stages: of its last chain, each with what was done with it.
    began: Unix time; seconds: of all its executions. run_id: its tracking run.
    """

    values: Mapping[str, Any]
    state: State = "running"
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reason: str = ""
    stages: Sequence[Mapping[str, Any]] = ()
    began: float = 0.0
    seconds: float = 0.0
    run_id: str | None = None

    @property
    def trial(self) -> Trial:
        """Of what this is the record."""
        return Trial(self.values)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The evaluation's, after the longest training that it has had; empty for none."""
        return self.measured[max(self.measured, key=float)] if self.measured else {}

    @property
    def share(self) -> float:
        """Of the training's iterations, at the last measurement."""
        return max(map(float, self.measured), default=0.0)

    def at(self, share: float) -> Mapping[str, float] | None:
        """What was measured after this share of the iterations; None when it was not."""
        return self.measured.get(f"{share:.6g}")

    def with_measured(self, share: float, executed: Sequence[Executed]) -> "Record":
        """With the result of a chain, whose last stage is the evaluation."""
        stages = tuple({"name": one.name, "action": one.action, "seconds": one.seconds} for one in executed)
        metrics = dict(executed[-1].metrics)
        return replace(self, measured={**self.measured, f"{share:.6g}": metrics}, stages=stages)

    def with_state(self, state: State, reason: str = "") -> "Record":
        """In another state."""
        return replace(self, state=state, reason=reason)

    def write(self, folder: Path) -> None:
        """Keep it in the sweep's folder."""
        file = _file(folder, self.trial)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(self))


def begun(trial: Trial) -> Record:
    """The record of a trial that begins."""
    return Record(values=dict(trial.values), began=time.time())


def read_record(folder: Path, trial: Trial) -> Record | None:
    """What is known of a trial; None for nothing, or when its file is damaged."""
    return _read(_file(folder, trial))


def read_records(folder: Path) -> list[Record]:
    """All trials that have begun, in that order."""
    found = [record for file in (folder / TRIALS).glob("*.json") if (record := _read(file)) is not None]
    return sorted(found, key=lambda record: record.began)


def log_file(folder: Path, trial: Trial) -> Path:
    """Where a trial's lines of progress are."""
    return folder / TRIALS / f"{trial.id}.log"


def _file(folder: Path, trial: Trial) -> Path:
    return folder / TRIALS / f"{trial.id}.json"


def _read(file: Path) -> Record | None:
    try:
        return Record(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
