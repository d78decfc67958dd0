"""The plan of a chain: the action that each stage needs, and why, before anything is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestration.chain.stage import ChainError, ChainStage, fingerprint
from orchestration.chain.stage_folder import StageFolder, executions

if TYPE_CHECKING:
    from orchestration.tracking import Tracking


Action = Literal["reuse", "resume", "run", "left out"]
MOST_NAMED = 2
LONGEST_VALUE = 40
NOTHING = object()


@dataclass(frozen=True)
class Selection:
    """The stages to run. anew: run this stage and all that follow it even if done; only: this stage and no other."""

    anew: str | None = None
    only: str | None = None

    def check(self, names: Sequence[str]) -> None:
        """Raises ChainError for stages that are not among the chain's, or choices that contradict each other."""
        for option, name in (("--from", self.anew), ("--only", self.only)):
            if name is not None and name not in names:
                raise ChainError(f"{option} {name}: no such stage here; choose one of {', '.join(names)}")
        if self.anew and self.only and self.anew != self.only:
            raise ChainError(f"--only {self.only} runs no other stage, so --from {self.anew} cannot be: leave one out")

    def runs_anew(self, stage: ChainStage, stages: Sequence[ChainStage]) -> bool:
        """True if the stage is to run even if it is done."""
        if self.anew is None or self.leaves_out(stage):
            return False
        names = [one.name for one in stages]
        return names.index(stage.name) >= names.index(self.anew)

    def leaves_out(self, stage: ChainStage) -> bool:
        """True if the stage must not run."""
        return self.only is not None and stage.name != self.only


@dataclass(frozen=True)
class Planned:
    """The action that a stage needs, and why.

    fingerprint, folder: None while an input's content is not known. anew: its folder is set aside first.
    run_id: of its finished run in the tracking server, None when that has none.
    """

    stage: ChainStage
    action: Action
    why: str
    fingerprint: str | None = None
    folder: StageFolder | None = None
    anew: bool = False
    run_id: str | None = None


Plan = tuple[Planned, ...]


def plan(
    stages: Sequence[ChainStage], storage: Path, tracking: "Tracking | None", selection: Selection | None = None
) -> Plan:
    """Plan each stage, in order; nothing is changed.

    tracking: None when there is no tracking server yet. Raises ChainError when the selection cannot be.
    """
    selection = selection or Selection()
    selection.check([stage.name for stage in stages])
    outputs: dict[str, str | None] = {}
    planned: dict[str, Planned] = {}
    for stage in stages:
        missing = [name for name in stage.inputs if outputs[name] is None]
        running = [name for name in stage.inputs if planned[name].action in ("run", "resume")]
        if missing:
            one = Planned(stage, "run", f"its input {missing[0]} comes first")
        else:
            known = {name: str(outputs[name]) for name in stage.inputs}
            folders = {name: folder.path for name in stage.inputs if (folder := planned[name].folder)}
            one = examine(stage, known, folders, storage, tracking, running)
        if selection.runs_anew(stage, stages):
            one = _anew(one, selection)
        outputs[stage.name] = _expected_output(one)
        planned[stage.name] = one
    return _selected(planned, selection)


def stages_up_to(stages: Sequence[ChainStage], last: str) -> tuple[ChainStage, ...]:
    """The stage of this name and all that it needs, in the chain's order."""
    needed = {last}
    for stage in reversed(stages):
        needed |= set(stage.inputs) if stage.name in needed else set()
    return tuple(stage for stage in stages if stage.name in needed)


def examine(
    stage: ChainStage,
    inputs: Mapping[str, str],
    folders: Mapping[str, Path],
    storage: Path,
    tracking: "Tracking | None",
    running: Sequence[str] = (),
) -> Planned:
    """Plan a stage whose inputs are known. inputs: content fingerprints by name; folders: the inputs' folders."""
    digest = fingerprint(stage, inputs)
    folder = StageFolder.of(storage, stage.name, digest)
    examined = Planned(stage, "reuse", "", digest, folder)
    if folder.note is None:
        return replace(
            examined, action="run", why=_why_there_is_no_folder(examined, inputs, storage, tracking, running)
        )
    if folder.result is None:
        return replace(examined, action="resume", why=_progress(stage, folder))
    if (missing := folder.missing(stage)) is not None:
        return replace(examined, action="resume", why=explain_missing(folder, missing))
    if stage.outdated is not None and (reason := stage.outdated(folder.path, folders)):
        return replace(examined, action="run", why=reason)
    run_id = tracking.find_finished(stage.name, digest) if tracking is not None else None
    if run_id is None and stage.tracked:
        return replace(examined, action="run", why="the tracking server has no record of it")
    return replace(examined, why="done" if run_id else "done; its record is sent to the tracking server", run_id=run_id)


def _why_there_is_no_folder(
    examined: Planned, inputs: Mapping[str, str], storage: Path, tracking: "Tracking | None", running: Sequence[str]
) -> str:
    digest = str(examined.fingerprint)
    run_id = tracking.find_finished(examined.stage.name, digest) if tracking is not None and not running else None
    if run_id is not None and examined.folder is not None:
        return f"it had finished (MLflow run {run_id}), but its folder {examined.folder.path} is gone"
    return why_new(storage, examined.stage, inputs, running)


def _progress(stage: ChainStage, folder: StageFolder) -> str:
    progress = stage.progress_of(folder.path) if stage.progress_of else ""
    return f"was not finished: goes on from {progress}" if progress else "was not finished: begins again"


def _anew(one: Planned, selection: Selection) -> Planned:
    """The same stage, run even if it is done."""
    why = "asked for by --from" if one.stage.name == selection.anew else f"follows {selection.anew} (--from)"
    if one.folder is not None and one.folder.path.exists():
        why += f"; the former folder is kept as {one.folder.aside.name}"
    return replace(one, action="run", why=why, anew=True)


def _expected_output(one: Planned) -> str | None:
    """The content fingerprint of a stage's output, if it can be known before the stage runs."""
    if one.stage.output is None or one.fingerprint is None:
        return one.fingerprint
    return one.stage.output(one.folder.path) if one.action == "reuse" and one.folder is not None else None


def _selected(planned: Mapping[str, Planned], selection: Selection) -> Plan:
    """All stages, or with `only` that one and the finished ones that it needs."""
    if selection.only is None:
        return tuple(planned.values())
    kept = {selection.only}
    for name, one in reversed(list(planned.items())):
        kept |= set(one.stage.inputs) if name in kept else set()
    for name, one in planned.items():
        if name in kept - {selection.only} and one.action != "reuse":
            raise ChainError(
                f"--only {selection.only} needs {name}, which is not done ({one.why}): run without --only first, or "
                f"with --only {name}"
            )
    return tuple(
        one if name in kept else replace(one, action="left out", why="not asked for") for name, one in planned.items()
    )


def why_new(storage: Path, stage: ChainStage, inputs: Mapping[str, str], running: Sequence[str] = ()) -> str:
    """Explain why no finished execution can be reused. inputs: as for the fingerprint; running: those that run."""
    candidates = [
        (_changes(note, stage, inputs, running), folder)
        for folder in executions(storage, stage.name)
        if (note := folder.note) is not None
    ]
    if not candidates:
        return "never run before"
    changes, folder = min(candidates, key=lambda candidate: len(candidate[0]))
    if not changes:
        return f"the former execution is in {folder.path.name}"
    named = ", ".join(changes[:MOST_NAMED])
    more = f" and {len(changes) - MOST_NAMED} more" if len(changes) > MOST_NAMED else ""
    own = any(not change.startswith("its input") for change in changes)
    return f"{named}{more}" + (f" since {folder.path.name}" if own else "")


def _changes(
    note: Mapping[str, Any], stage: ChainStage, inputs: Mapping[str, str], running: Sequence[str]
) -> list[str]:
    before, now = flat(note.get("reads", {})), flat(stage.reads)
    changes = [
        f"{key}: {_format_value(before.get(key, NOTHING))} → {_format_value(now.get(key, NOTHING))}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, NOTHING) != now.get(key, NOTHING)
    ]
    if note.get("version") != stage.version:
        changes.append(f"the program's version of this stage: {note.get('version')} → {stage.version}")
    former = note.get("inputs", {})
    for name in stage.inputs:
        if name not in former:
            changes.append(f"its input {name} is new")
        elif former[name] != inputs.get(name):
            changes.append(f"its input {name} {'runs again' if name in running else 'has changed'}")
    return changes + [f"its input {name} is left out" for name in former if name not in stage.inputs]


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Flatten nested values to dotted paths; lists stay whole."""
    return dict(_leaves(values, path))


def _leaves(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        else:
            # As JSON gives it back.
            yield name, list(value) if isinstance(value, tuple) else value


def _format_value(value: Any) -> str:
    if value is NOTHING:
        return "not there"
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def explain_missing(folder: StageFolder, name: str) -> str:
    """Explain that a finished stage's result is not whole any more."""
    return f"it had finished, but {name} is missing in {folder.path}"
