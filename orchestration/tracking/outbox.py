"""Queue of a journal's entries that are still to be sent to a run, and the record of those that were."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hia.io.files import write_json
from orchestration.names import JOURNAL, SENT_NOTE
from orchestration.tracking.journal import Artifact, Entry, Metrics, read_new
from orchestration.tracking.retry import TrackingRefused, log
from orchestration.tracking.runs import METRICS_PER_BATCH, Run, batches, upload

if TYPE_CHECKING:
    from mlflow.entities import Metric


@dataclass(frozen=True)
class Item:
    """Metrics or an artifact that are sent at once. end: the journal's position after them, None for none."""

    metrics: "list[Metric]" = field(default_factory=list)
    artifact: Artifact | None = None
    end: int | None = None


class SentMetrics:
    """Names of the metrics sent at each step; most steps have the same names, which are stored once."""

    def __init__(self) -> None:
        self._names: dict[int, frozenset[str]] = {}
        self._kept: dict[frozenset[str], frozenset[str]] = {}

    def add(self, step: int, names: Iterable[str]) -> frozenset[str]:
        """Note names at a step; returns those that were not noted before."""
        before = self._names.get(step, frozenset())
        new = frozenset(names) - before
        both = before | new
        self._names[step] = self._kept.setdefault(both, both)
        return new


class Outbox:
    """Items in the journal's order, each kept until it is sent. To be used by one thread.

    The position up to which all is sent is kept in a file beside the journal. Metrics keep the time at which they were
    measured, by which MLflow's databases recognise one that comes twice because its receipt was lost.
    refused: why the server refused an item. Later items are sent all the same, but the position stays.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self.journal, self._note = folder / JOURNAL, folder / SENT_NOTE
        self.refused: TrackingRefused | None = None
        self._run, self._folder = run, folder
        self._items: deque[Item] = deque()
        self._read: int | None = None
        self._sent = SentMetrics()

    def add(self, metrics: "list[Metric]") -> None:
        """Queue metrics that are in no journal."""
        self._items.extend(Item(batch) for batch in batches(metrics, METRICS_PER_BATCH))

    def send_next(self) -> bool:
        """Send one item; False when there was none. Raises TrackingUnavailable, and the item stays."""
        if not self._items:
            self._fill()
        if not self._items:
            return False
        item = self._items[0]
        try:
            self._run.server.call(f"sending {self.journal}", lambda: self._send(item))
        except TrackingRefused as refused:
            if self.refused is None:
                log(f"{refused}; the stage goes on")
            self.refused = self.refused or refused
        self._items.popleft()
        if item.end is not None and self.refused is None:
            self._remember(item.end)
        return True

    def _send(self, item: Item) -> None:
        if item.metrics:
            self._run.server.client.log_batch(self._run.id, metrics=item.metrics)
        if item.artifact is None:
            return
        path = self._folder / item.artifact.path
        if path.exists():
            upload(self._run, path, item.artifact.under)
        else:
            log(f"{path} was to be kept with its run, but is not there any more")

    def _fill(self) -> None:
        if self._read is None:
            self._read = self._begin()
        entries, self._read = read_new(self.journal, self._read)
        self._items.extend(self._in_batches(entries))

    def _in_batches(self, entries: Iterable[Entry]) -> Iterator[Item]:
        from mlflow.entities import Metric

        batch: list[Metric] = []
        end = None
        for entry in entries:
            if isinstance(entry, Artifact):
                yield Item(batch, end=end)
                batch, end = [], entry.end
                yield Item(artifact=entry, end=end)
                continue
            new = self._sent.add(entry.step, entry.values)
            for name in sorted(new):
                if len(batch) == METRICS_PER_BATCH:
                    yield Item(batch, end=end)
                    batch = []
                batch.append(Metric(name, entry.values[name], entry.time, entry.step))
            end = entry.end
        if end is not None:
            yield Item(batch, end=end)

    def _begin(self) -> int:
        """Position to go on from. Where it is not known, the sent metrics are read from the run."""
        position = self._position()
        if position is None:
            self._run.server.call("reading the run's metrics", self._read_sent_metrics)
            return 0
        for entry in read_new(self.journal, 0)[0]:
            if isinstance(entry, Metrics) and entry.end <= position:
                self._sent.add(entry.step, entry.values)
        return position

    def _read_sent_metrics(self) -> None:
        client = self._run.server.client
        for name in client.get_run(self._run.id).data.metrics:
            if not name.startswith("system/"):
                for metric in client.get_metric_history(self._run.id, name):
                    self._sent.add(metric.step, [name])

    def _position(self) -> int | None:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            position = int(note["position"])
            known = note["mlflow_run_id"] == self._run.id and position <= self.journal.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return position if known else None

    def _remember(self, position: int) -> None:
        write_json(self._note, {"mlflow_run_id": self._run.id, "position": position})
