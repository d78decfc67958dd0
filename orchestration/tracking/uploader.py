"""Upload of a stage's journal and of system metrics to its run, in a thread, while the stage runs."""

import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from orchestration.tracking.outbox import Outbox
from orchestration.tracking.retry import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    PATIENCE_SECONDS,
    TrackingUnavailable,
    log,
)
from orchestration.tracking.runs import INTERRUPTED_PATIENCE_SECONDS, Run

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


SYSTEM_INTERVAL_SECONDS = 5.0
# Enough for a server that is away for a day; older ones are dropped.
MOST_SAMPLES = 300_000
JOURNAL_INTERVAL_SECONDS = 1.0
# After an error of the stage, the user wants to see that error, and soon.
PATIENCE_AFTER_ERROR_SECONDS = 30.0


class SystemSampler:
    """A thread that measures the machine at intervals; its metrics are kept until they are fetched.

    The step of a measurement is the second of its run, which goes on where the run is resumed.
    """

    def __init__(self, run: Run, interval: float = SYSTEM_INTERVAL_SECONDS) -> None:
        self._run, self._interval = run, interval
        self._found: deque[Metric] = deque(maxlen=MOST_SAMPLES)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="system metrics", daemon=True)
        self._thread.start()

    def fetch(self) -> "list[Metric]":
        """Return and forget the metrics measured since the last call."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def end(self) -> None:
        """Stop measuring."""
        self._ending.set()
        self._thread.join()

    def _measure(self) -> None:
        """Body of the thread. A machine that cannot be measured is no error."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        try:
            # For its collection of monitors (CPU, memory, disk, network, GPUs where there are) and its settings only:
            # its own thread ends at the first request that the server does not answer.
            monitor = SystemMetricsMonitor(
                self._run.id, sampling_interval=self._interval, tracking_uri=self._run.server.uri
            )
            _measure_once(monitor)  # the share of time since the last look: the first has nothing to refer to
            while not self._ending.wait(monitor.sampling_interval):
                self._keep(_measure_once(monitor))
        except Exception as error:
            log(f"no system metrics can be had on this machine: {error!r}")

    def _keep(self, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        step = (now - self._run.started) // 1000
        self._found.extend(Metric(f"system/{name}", value, now, step) for name, value in values.items())


def _measure_once(monitor: "SystemMetricsMonitor") -> dict[str, float]:
    monitor.collect_metrics()
    values = monitor.aggregate_metrics()
    for one in monitor.monitors:
        one.clear_metrics()
    return values


class JournalUploader:
    """Context in which a thread sends the entries of the journal in `folder`, and system metrics, to `run`.

    A server that is away holds up nothing: entries are sent when it is back. On leaving, the rest is sent.
    Each (metric, step) is sent once: a restarted stage's repeated measurements are not.

    patience: seconds that a server may be away in the end. interval, system_interval: seconds between looks at the
    journal, and at the machine. Leaving the context raises TrackingUnavailable or TrackingRefused when not all could be
    sent; the next uploader of the same run and folder goes on from there. Neither is raised while another error
    propagates.
    """

    def __init__(
        self,
        run: Run,
        folder: str | Path,
        patience: float = PATIENCE_SECONDS,
        interval: float = JOURNAL_INTERVAL_SECONDS,
        system_interval: float = SYSTEM_INTERVAL_SECONDS,
    ) -> None:
        self._run, self._patience, self._interval, self._system_interval = run, patience, interval, system_interval
        self._outbox = Outbox(run, Path(folder))
        self._leaving, self._stopped, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._answered = time.monotonic()
        self._away: TrackingUnavailable | None = None
        self._thread = threading.Thread(target=self._send, name="tracking", daemon=True)

    def __enter__(self) -> "JournalUploader":
        self._sampler = SystemSampler(self._run, self._system_interval)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampler.end()
        self._leaving.set()
        self._wake.set()
        try:
            self._wait(self._patience_after(error))
        finally:
            self._stopped.set()
        if error is None:
            self._raise_unsent()
        elif self._thread.is_alive() or self._outbox.refused:
            log("not everything has reached the tracking server; running the same command again sends the rest")

    def _patience_after(self, error: BaseException | None) -> float:
        if error is None:
            return self._patience
        quick = isinstance(error, KeyboardInterrupt)
        return min(self._patience, INTERRUPTED_PATIENCE_SECONDS if quick else PATIENCE_AFTER_ERROR_SECONDS)

    def _wait(self, patience: float) -> None:
        """Wait until all is sent, or nothing was sent for `patience` seconds."""
        left = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.2)
            if time.monotonic() - max(left, self._answered) > patience:
                self._run.server.stop_retrying()
                return

    def _raise_unsent(self) -> None:
        if self._thread.is_alive():
            raise self._away or TrackingUnavailable(
                f"sending {self._outbox.journal}: the tracking server {self._run.server.name} has not answered for "
                f"{self._patience:g} s. Nothing is lost: run the same command again when it is there"
            )
        if self._outbox.refused is not None:
            raise self._outbox.refused

    def _send(self) -> None:
        """Body of the thread: send new entries, until there are no more to come."""
        delay = FIRST_DELAY_SECONDS
        while not self._stopped.is_set():
            leaving = self._leaving.is_set()
            try:
                self._send_all()
            except TrackingUnavailable as away:
                if self._away is not None:
                    self._run.server.warn_once(away.reason)
                self._away = away
                self._sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)
                continue
            self._away, delay = None, FIRST_DELAY_SECONDS
            if leaving:
                return
            self._sleep(self._interval)

    def _send_all(self) -> None:
        self._outbox.add(self._sampler.fetch())
        while not self._stopped.is_set() and self._outbox.send_next():
            self._answered = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()
