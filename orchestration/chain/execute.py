"""Execution of a plan: one stage after the other, each under its lock, in its folder, with its tracking run."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hia.config import Config
from hia.io.hashing import json_digest
from orchestration.chain.plan import Action, Plan, Planned, Selection, examine, plan
from orchestration.chain.stage import ChainStage, ExplainedFailure, StageFailed, StageRun, fingerprint
from orchestration.chain.stage_folder import StageFolder
from orchestration.names import JOURNAL, PREPROCESS

if TYPE_CHECKING:
    from orchestration.tracking import Run, Tracking

# Errors whose message alone tells the user what is wrong.
FOR_USERS = (ValueError, OSError, ExplainedFailure)
LAST_CHARACTERS = 4000
MOST_SHOWN = 4
FIRST_SHOWN = ("psnr", "ssim", "l1")


@dataclass(frozen=True)
class Executed:
    """Outcome of a stage. seconds: duration of its last execution; run_id: of its tracking run."""

    name: str
    action: Action
    folder: Path
    metrics: Mapping[str, float]
    seconds: float
    run_id: str | None


@dataclass(frozen=True)
class Chain:
    """The stages of a configuration with their storage and tracking server.

    storage: absolute. tags: of every tracking run. prepare: called before the first stage that needs the cluster.
    say: takes lines of progress. show: whether stages show their own.
    """

    stages: Sequence[ChainStage]
    config: Config
    storage: Path
    tracking: "Tracking"
    tags: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    say: Callable[[str], None] = print
    show: bool = False

    @property
    def fingerprint(self) -> str:
        """Digest of the whole chain, before its data are read."""
        return json_digest([[stage.name, stage.version, stage.reads] for stage in self.stages])

    def plan(self, selection: Selection | None = None) -> Plan:
        """Plan all stages. Raises ChainError for a selection that cannot be."""
        return plan(self.stages, self.storage, self.tracking, selection)

    def run(self, planned: Plan, parent: "Run") -> tuple[Executed, ...]:
        """Finish every stage of a plan. parent: the tracking run that theirs belong to.

        A stage is examined again when its turn comes: by then another process may have finished it, or it may not be
        needed, because its input came out as before. Raises StageFailed from a stage's error.
        """
        done: dict[str, Executed] = {}
        outputs: dict[str, str] = {}
        for one in planned:
            if one.action == "left out":
                continue
            inputs = {name: outputs[name] for name in one.stage.inputs}
            folders = {name: done[name].folder for name in one.stage.inputs}
            position = f"[{_position(one, planned)}/{len(planned)}] {one.stage.name}"
            done[one.stage.name], digest = self._ensure_stage(one, inputs, folders, parent, position)
            outputs[one.stage.name] = _output(one.stage, done[one.stage.name].folder, digest)
        return tuple(done.values())

    def _ensure_stage(
        self, one: Planned, inputs: Mapping[str, str], folders: Mapping[str, Path], parent: "Run", position: str
    ) -> tuple[Executed, str]:
        """Examine a stage again, now that its inputs are there, and reuse, resume or run it; also its fingerprint."""
        stage = one.stage
        digest = fingerprint(stage, inputs)
        folder = StageFolder.of(self.storage, stage.name, digest)
        with folder.locked(self.say):
            if one.anew:
                folder.set_aside()
            planned_stage = examine(stage, inputs, folders, self.storage, self.tracking)
            if planned_stage.action == "reuse":
                self.say(f"{position}: reused")
                run_id = planned_stage.run_id or self._publish(planned_stage, inputs, parent)
            else:
                why = one.why if one.anew else planned_stage.why
                self.say(f"{position}: " + (why if planned_stage.action == "resume" else f"begins ({why})"))
                run_id = self._run_stage(planned_stage, inputs, folders, parent)
                self.say(f"{position}: {_ending(folder)}")
            # Also after a reuse: the process that finished the stage may have been killed before it came to this.
            folder.remove_temporary(stage)
            result = folder.result or {}
        executed = Executed(
            stage.name, planned_stage.action, folder.path, result.get("metrics", {}), result.get("seconds", 0.0), run_id
        )
        return executed, digest

    def _publish(self, planned_stage: Planned, inputs: Mapping[str, str], parent: "Run") -> str:
        """Send what the tracking server lacks of a finished stage; returns the id of its run there."""
        with _naming(planned_stage.stage), self._tracked(planned_stage, inputs, parent) as run:
            return run.id

    def _run_stage(
        self, planned_stage: Planned, inputs: Mapping[str, str], folders: Mapping[str, Path], parent: "Run"
    ) -> str:
        stage, folder = planned_stage.stage, _folder(planned_stage)
        if stage.uses_cluster:
            self.prepare()
        with _naming(stage):
            folder.begin(stage, str(planned_stage.fingerprint), inputs)
            with self._tracked(planned_stage, inputs, parent) as run:
                self._call_stage(planned_stage, inputs, folders, run)
                return run.id

    def _call_stage(
        self, planned_stage: Planned, inputs: Mapping[str, str], folders: Mapping[str, Path], run: "Run"
    ) -> None:
        """Call the stage's own function, and note that it has finished."""
        from orchestration.tracking.journal import JournalWriter

        stage, folder = planned_stage.stage, _folder(planned_stage)
        journal = JournalWriter(folder.path / JOURNAL)
        began = time.monotonic()
        stage_run = StageRun(folder.path, folders, journal, run, self.config, str(planned_stage.fingerprint), self.show)
        metrics = stage.run(stage_run)
        if (missing := folder.missing(stage)) is not None:
            raise RuntimeError(f"it has ended without writing {folder.path / missing}")
        self._check_inputs(stage, inputs, folders)
        journal.metrics(0, {f"result/{name}": value for name, value in metrics.items()})
        folder.finish(metrics, time.monotonic() - began)

    def _check_inputs(self, stage: ChainStage, inputs: Mapping[str, str], folders: Mapping[str, Path]) -> None:
        """Refuse a result whose input was brought up to date by another run in the meantime."""
        by_name = {one.name: one for one in self.stages}
        for name in stage.inputs:
            if _output(by_name[name], folders[name], inputs[name]) != inputs[name]:
                raise StageFailed(
                    f"{stage.name}: the output of {name} in {folders[name]} was changed by another run meanwhile, so "
                    "this result fits neither: run it again"
                )

    @contextlib.contextmanager
    def _tracked(self, planned_stage: Planned, inputs: Mapping[str, str], parent: "Run") -> Iterator["Run"]:
        """The stage's tracking run, to which its journal is sent; it ends with the status of the stage."""
        from orchestration.tracking import JournalUploader

        folder, stage = _folder(planned_stage), planned_stage.stage
        tags = dict(self.tags) | ({"data_fingerprint": inputs[PREPROCESS]} if PREPROCESS in inputs else {})
        run = self.tracking.start_stage(parent, stage.name, str(planned_stage.fingerprint), asdict(self.config), tags)
        with final_status(run):
            folder.set_run(run.id)
            with JournalUploader(run, folder.path):
                yield run


@contextlib.contextmanager
def _naming(stage: ChainStage) -> Iterator[None]:
    """Turn any error into one that names the stage."""
    try:
        yield
    except StageFailed:
        raise
    except Exception as error:
        raise StageFailed(f"{stage.name} failed: {failure_reason(error)}") from error


@contextlib.contextmanager
def final_status(run: "Run") -> Iterator[None]:
    """End a tracking run with the status of the block. A server that is away hides no error."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            run.finish("KILLED")
        raise
    except BaseException as error:
        with contextlib.suppress(Exception):
            run.set_tags({"hia.error": failure_reason(error)[-LAST_CHARACTERS:]})
            run.finish("FAILED")
        raise
    run.finish("FINISHED")


def failure_reason(error: BaseException) -> str:
    """Message of an error for users, with its type where the message was not written for them."""
    cause = getattr(error, "cause", None)  # of Ray's errors, whose own message is a traceback
    if isinstance(cause, Exception):
        error = cause
    if isinstance(error, FOR_USERS):
        return str(error) or repr(error)
    return f"{type(error).__name__}: {error}"


def format_duration(seconds: float) -> str:
    """A duration to be read, such as `2 min 05 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _ending(folder: StageFolder) -> str:
    result = folder.result or {}
    metrics = sorted(result["metrics"].items(), key=lambda item: (item[0].count("/"), item[0] not in FIRST_SHOWN))
    listed = ", ".join(f"{name} {value:.4g}" for name, value in metrics[:MOST_SHOWN])
    return f"done in {format_duration(result['seconds'])}" + (f" ({listed})" if listed else "")


def _folder(planned_stage: Planned) -> StageFolder:
    assert planned_stage.folder is not None  # it is known for all that has been examined
    return planned_stage.folder


def _output(stage: ChainStage, folder: Path, digest: str) -> str:
    return stage.output(folder) if stage.output else digest


def _position(one: Planned, planned: Plan) -> int:
    return [other.stage.name for other in planned].index(one.stage.name) + 1
