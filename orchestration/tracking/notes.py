"""What the page of a run says in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STAGES, RESULT = "\n\n## Stages\n\n", "\n\n## Result\n\n"
LONGEST_CELL = 1500


def description(title: str, tags: Mapping[str, str], environment: Mapping[str, Any], again: str) -> str:
    """What a run is, and how to repeat it; Markdown. again: the script that does, with its arguments."""
    commit = environment["commit"] or f"unknown; SHA-256 of the source files {environment['source_sha256']}"
    changes = ", with changes that were not committed" if environment["uncommitted_changes"] else ""
    known = [("preset", "preset"), ("gamma", "γ"), ("omega", "ω"), ("fingerprint", "fingerprint")]
    rows = [(label, f"`{tags[name]}`") for name, label in known if name in tags]
    rows += [("commit", f"`{commit}`{changes}"), ("command", f"`{_cell(environment['command'])}`")]
    return (
        f"**{title}**\n\n{table(('', ''), rows)}\n\n"
        "To run it again, check out the commit, download `config.yaml` from the artifacts of this run, and\n\n"
        f"    python {again}\n\n"
        "`environment.json` has the versions of all packages."
    )


def with_stages(note: str, rows: Iterable[Sequence[str]]) -> str:
    """A description with the table of a pipeline's stages at its end, in place of an earlier one."""
    return note.partition(STAGES)[0] + STAGES + table(("stage", "", "time", "run"), rows)


def with_result(note: str, result: str) -> str:
    """A description with a result at its end, in place of an earlier one."""
    return note.partition(RESULT)[0] + RESULT + result


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    text = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return text.replace("|", "\\|").replace("\n", " ")
