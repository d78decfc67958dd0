"""A run in the tracking server: its parameters, metrics, tags, artifacts and description."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from orchestration.tracking.retry import Server

Status = Literal["FINISHED", "FAILED", "KILLED"]
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
# Limits of every tracking server; recent ones allow more.
LONGEST_PARAMETER, LONGEST_TAG, LONGEST_KEY = 500, 5000, 250
PER_BATCH, METRICS_PER_BATCH = 100, 1000
# A driver that was told to stop does not wait for a server.
INTERRUPTED_PATIENCE_SECONDS = 5.0
# Parts of a run's description, which are replaced when it is resumed.
STAGES, RESULT = "\n\n## Stages\n\n", "\n\n## Result\n\n"
LONGEST_CELL = 1500

Item = TypeVar("Item")


class StageOutcome(Protocol):
    """Outcome of a stage. action: `reuse`, `resume` or `run`; seconds: duration of its work."""

    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def run_id(self) -> str | None: ...


@dataclass(frozen=True)
class Run:
    """A run in the tracking server. All methods wait for a server that is away, as long as its patience lasts.

    They raise TrackingUnavailable and TrackingRefused. started: Unix time of its first start, in milliseconds.
    """

    server: Server
    id: str
    experiment_id: str
    started: int

    @property
    def place(self) -> str:
        """The part of its address that comes after the user interface's own."""
        return f"#/experiments/{self.experiment_id}/runs/{self.id}"

    @property
    def url(self) -> str:
        """Address of the run's page; for a database file, with the command that shows it."""
        name = self.server.name
        if name.startswith("http"):
            return f"{name.rstrip('/')}/{self.place}"
        return f"http://127.0.0.1:5000/{self.place} (with: mlflow ui --backend-store-uri {name})"

    def finish(self, status: Status) -> None:
        """End the run."""
        patience = INTERRUPTED_PATIENCE_SECONDS if status == "KILLED" else None
        self._call("ending the run", partial(self.server.client.set_terminated, self.id, status), patience)

    def log_params(self, config: Mapping[str, Any]) -> None:
        """Log a configuration as parameters, by the path of each value; long values are cut.

        MLflow's parameters do not change: those of a resumed run that have new values stay, and the tag `hia.changed`
        lists them.
        """
        from mlflow.entities import Param

        client = self.server.client
        values = {key[:LONGEST_KEY]: _cut(text, LONGEST_PARAMETER) for key, text in flat(config)}
        known = self._call("reading the run's parameters", partial(client.get_run, self.id)).data.params
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for batch in batches(new, PER_BATCH):
            self._call("writing parameters", partial(client.log_batch, self.id, params=batch))
        changed = [f"{key}: {known[key]} → {value}" for key, value in values.items() if known.get(key, value) != value]
        if changed:
            self.set_tags({"hia.changed": "\n".join(changed)})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in place of those of the same names."""
        from mlflow.entities import RunTag

        client = self.server.client
        entities = [RunTag(key[:LONGEST_KEY], _cut(str(value), LONGEST_TAG)) for key, value in tags.items()]
        for batch in batches(entities, PER_BATCH):
            self._call("writing tags", partial(client.log_batch, self.id, tags=batch))

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at once; a stage's metrics go through its journal instead, which waits for no server."""
        from mlflow.entities import Metric

        client = self.server.client
        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        for batch in batches(metrics, METRICS_PER_BATCH):
            self._call("writing metrics", partial(client.log_batch, self.id, metrics=batch))

    def log_artifact(self, local_path: str | Path, under: str = "") -> None:
        """Upload a file, or a folder's content, into the folder `under` of the artifacts."""
        path = Path(local_path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder, so it cannot be kept with the run")
        self._call(f"uploading {path.name}", partial(upload, self, path, under))

    def log_dict(self, content: Any, name: str) -> None:
        """Upload plain values as the JSON file `name` among the artifacts."""
        self.log_text(json.dumps(content, indent=1, ensure_ascii=False), name)

    def log_text(self, text: str, name: str) -> None:
        """Upload a text file `name` among the artifacts."""
        self._call(f"uploading {name}", partial(self.server.client.log_text, self.id, text, name))

    def note_stages(self, outcomes: Sequence[StageOutcome]) -> None:
        """Add the outcomes of a pipeline's stages to its description, with links to their runs, its own or others'."""
        rows = [(one.name, self._describe_outcome(one), f"{one.seconds:.0f} s", self._link(one)) for one in outcomes]
        note = self._tags(self.id).get(NOTE, "")
        self.set_tags({NOTE: with_stages(note, rows)})

    def note_result(self, text: str) -> None:
        """Add a result, Markdown, to the description, in place of an earlier one."""
        self.set_tags({NOTE: with_result(self._tags(self.id).get(NOTE, ""), text)})

    def _describe_outcome(self, outcome: StageOutcome) -> str:
        if outcome.action != "reuse":
            return "resumed" if outcome.action == "resume" else "ran"
        if outcome.run_id is None or self._tags(outcome.run_id).get(PARENT) == self.id:
            return "reused"
        return "reused, made by another pipeline"

    def _link(self, outcome: StageOutcome) -> str:
        if outcome.run_id is None:
            return ""
        return f"[{outcome.name}](#/experiments/{self.experiment_id}/runs/{outcome.run_id})"

    def _tags(self, run_id: str) -> dict[str, str]:
        return self._call("reading a run", partial(self.server.client.get_run, run_id)).data.tags

    def _call(self, what: str, call: Any, patience: float | None = None) -> Any:
        return self.server.call_with_retry(what, call, patience)


def upload(run: Run, path: Path, under: str) -> None:
    """Upload a file, or a folder's content, in one attempt. Raises whatever MLflow raises."""
    client = run.server.client
    (client.log_artifacts if path.is_dir() else client.log_artifact)(run.id, str(path), under or None)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`stages.spatial.iterations`, `200`: paths and values of nested ones; lists as JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def description(title: str, tags: Mapping[str, str], environment: Mapping[str, Any], again: str) -> str:
    """Description of a run and how to repeat it, Markdown. again: the script that does, with its arguments."""
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
