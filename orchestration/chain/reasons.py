"""Why a stage runs, in words: what has changed since the most similar earlier execution of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration.chain.records import StageFolder, executions
from orchestration.chain.stage import ChainStage

MOST_NAMED = 2
LONGEST_VALUE = 40
NOTHING = object()


def why_new(storage: Path, stage: ChainStage, inputs: Mapping[str, str], running: Sequence[str] = ()) -> str:
    """Why nothing done can be reused. inputs: as for the fingerprint; running: those of them that run before it."""
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
        f"{key}: {_shown(before.get(key, NOTHING))} → {_shown(now.get(key, NOTHING))}"
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
    """Nested values by their dotted path; lists as a whole."""
    return dict(_leaves(values, path))


def _leaves(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        else:
            # As JSON gives it back.
            yield name, list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if value is NOTHING:
        return "not there"
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def explain_missing(folder: StageFolder, name: str) -> str:
    """Of a finished stage whose result is not whole any more."""
    return f"it had finished, but {name} is missing in {folder.path}"
