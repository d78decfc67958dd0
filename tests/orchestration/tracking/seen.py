"""Runs as the tracking server shows them."""

import time
from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Run as Seen

from orchestration.tracking import Run, Tracking

CONFIG = {"preset": "tiny", "seed": 3, "stages": {"spatial": {"iterations": 200, "trains": ["unet"]}}, "data": None}


def seen(run: Run | str, tracking: Tracking | None = None) -> Seen:
    """A run as the server shows it."""
    if isinstance(run, Run):
        return run.server.client.get_run(run.id)
    assert tracking is not None
    return tracking.server.client.get_run(run)


def history(run: Run, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in run.server.client.get_metric_history(run.id, name)]


def artifact(run: Run, name: str, folder: Path) -> Path:
    return Path(run.server.client.download_artifacts(run.id, name, str(folder)))


def wait_until(condition: Callable[[], bool], seconds: float = 900) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it has not come"
        time.sleep(0.05)
