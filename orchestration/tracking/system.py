"""How busy the driver's machine is, as MLflow's own monitors measure it."""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from orchestration.tracking.runs import Run
from orchestration.tracking.server import say

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

INTERVAL_SECONDS = 5.0
# A server that is away for a day; what is older than that goes.
MOST_KEPT = 300_000


class SystemSampler:
    """A thread that measures now and then; what it found waits here until it is fetched.

    The step of a measurement is the second of its run, which goes on where the run is resumed.
    """

    def __init__(self, run: Run, interval: float = INTERVAL_SECONDS) -> None:
        self._run, self._interval = run, interval
        self._found: deque[Metric] = deque(maxlen=MOST_KEPT)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="system metrics", daemon=True)
        self._thread.start()

    def fetch(self) -> "list[Metric]":
        """What was measured since the last time."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def end(self) -> None:
        """Measure no more."""
        self._ending.set()
        self._thread.join()

    def _measure(self) -> None:
        """The thread. A machine that cannot be measured is worked on all the same."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        try:
            # For its collection of monitors (CPU, memory, disk, network, GPUs where there are) and its settings only:
            # its own thread ends at the first question that the server does not answer.
            monitor = SystemMetricsMonitor(
                self._run.id, sampling_interval=self._interval, tracking_uri=self._run.server.uri
            )
            _look(monitor)  # the share of time since the last look: the first has nothing to refer to
            while not self._ending.wait(monitor.sampling_interval):
                self._keep(_look(monitor))
        except Exception as error:
            say(f"no system metrics can be had on this machine: {error!r}")

    def _keep(self, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        step = (now - self._run.started) // 1000
        self._found.extend(Metric(f"system/{name}", value, now, step) for name, value in values.items())


def _look(monitor: "SystemMetricsMonitor") -> dict[str, float]:
    monitor.collect_metrics()
    values = monitor.aggregate_metrics()
    for one in monitor.monitors:
        one.clear_metrics()
    return values
