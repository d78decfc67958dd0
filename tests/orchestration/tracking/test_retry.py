"""Tracking on a server that is killed and started again: nothing stops, no metric is lost, none comes twice."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hia.video import write_video
from orchestration.tracking import JournalUploader, Run, Tracking, TrackingUnavailable, connect_tracking
from orchestration.tracking.journal import JournalWriter

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tracking server")]

MARK = "ab" * 32


class MlflowServer:
    """`mlflow server` on a port of this machine, with its database in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self._folder / 'server.db'}"]
        artifacts = ["--artifacts-destination", str(self._folder / "server")]
        place = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *place],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        until = time.monotonic() + 900
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < until, (self._folder / "server.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=5).status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def tracking(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        yield connect_tracking(tmp_path_factory.mktemp("storage"))


@dataclass(frozen=True)
class Absence:
    """A server that was killed in the middle of everything.

    stage: the run that was followed; steps: what its journal has. begun: the run that was begun while nobody was there.
    between: Unix times, in milliseconds, at which it was killed and was back; said: lines on stderr.
    """

    stage: Run
    steps: list[int]
    begun: Run
    between: tuple[int, int]
    said: list[str]


@pytest.fixture(scope="module")
def absence(server: MlflowServer, tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> Absence:
    folder = tmp_path_factory.mktemp("stage")
    writer, stop, steps = JournalWriter(folder / "journal.jsonl"), threading.Event(), []

    def write() -> None:
        while not stop.wait(0.005):
            writer.metrics(len(steps), {"loss": float(len(steps)), "val/psnr": 20.0})
            steps.append(len(steps))

    parent = tracking.start_pipeline(MARK, {}, {})
    stage = tracking.start_stage(parent, "spatial", MARK, {}, {})
    said: list[str] = []
    begun: list[Run] = []
    beginning = threading.Thread(
        target=lambda: begun.append(tracking.start_stage(parent, "regional", MARK, {"a": 1}, {}))
    )
    writing = threading.Thread(target=write)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.tracking.retry.log", said.append)
        with JournalUploader(stage, folder, interval=0.05, system_interval=0.2):
            writing.start()
            wait_for_metric(stage)
            server.kill()
            before, killed = len(steps), time.time_ns() // 1_000_000
            write_video(folder / "dance.mp4", np.zeros((4, 32, 32, 3), np.uint8), fps=8)
            writer.artifact("dance.mp4", "samples")
            beginning.start()
            wait_until(lambda: len(steps) > before + 100)
            wait_until(lambda: bool(said))
            server.start()
            back, between = len(steps), (killed, time.time_ns() // 1_000_000)
            wait_until(lambda: len(steps) > back + 200)
            stop.set()
            writing.join()
        beginning.join()
    return Absence(stage, steps, begun[0], between, said)


def test_every_metric_of_every_step_arrives_once(absence: Absence) -> None:
    for name in ("loss", "val/psnr"):
        metrics = absence.stage.server.client.get_metric_history(absence.stage.id, name)
        assert sorted(metric.step for metric in metrics) == absence.steps
    history = absence.stage.server.client.get_metric_history(absence.stage.id, "loss")
    assert all(metric.value == metric.step for metric in history)


def test_an_artifact_that_was_made_meanwhile_arrives(absence: Absence, tmp_path: Path) -> None:
    kept = absence.stage.server.client.download_artifacts(absence.stage.id, "samples/dance.mp4", str(tmp_path))
    assert Path(kept).stat().st_size > 500


def test_a_run_that_was_begun_meanwhile_is_there_once(absence: Absence, tracking: Tracking) -> None:
    wanted = f"tags.stage = 'regional' and tags.fingerprint = '{MARK}'"
    found = tracking.server.client.search_runs([tracking.experiment_id], wanted)
    assert [run.info.run_id for run in found] == [absence.begun.id]
    assert found[0].data.params == {"a": "1"}


def test_one_line_says_that_the_server_is_waited_for_and_one_that_it_is_back(absence: Absence) -> None:
    away, back = absence.said
    assert away.endswith("trying again") and "does not answer" in away and absence.stage.server.uri in away
    assert back == f"tracking server {absence.stage.server.uri} answers again"


def test_system_metrics_that_were_measured_meanwhile_arrive(absence: Absence) -> None:
    name = "system/cpu_utilization_percentage"
    times = [metric.timestamp for metric in absence.stage.server.client.get_metric_history(absence.stage.id, name)]
    assert any(absence.between[0] < at < absence.between[1] for at in times) and times[-1] > absence.between[1]


def test_videos_are_sent_to_browsers_as_videos(absence: Absence) -> None:
    place = f"{absence.stage.server.uri}/get-artifact?path=samples/dance.mp4&run_uuid={absence.stage.id}"
    with urllib.request.urlopen(place) as answer:
        assert answer.headers["Content-Type"] == "video/mp4"


def test_a_run_has_an_address_that_browsers_open(absence: Absence, server: MlflowServer) -> None:
    assert absence.stage.url == f"{server.uri}/{absence.stage.place}"


def test_a_server_that_stays_away_is_told_of_in_the_end_and_gets_the_rest_later(
    server: MlflowServer, tracking: Tracking, tmp_path: Path, absence: Absence
) -> None:
    run = tracking.start_stage(tracking.start_pipeline(MARK, {}, {}), "temporal_half", MARK, {}, {})
    with JournalUploader(run, tmp_path):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
    server.kill()
    try:
        with (
            pytest.raises(TrackingUnavailable, match="run the same command again"),
            JournalUploader(run, tmp_path, patience=1),
        ):
            JournalWriter(tmp_path / "journal.jsonl").metrics(2, {"loss": 2})
        with pytest.raises(RuntimeError, match="the stage's own"), JournalUploader(run, tmp_path, patience=1):
            raise RuntimeError("the stage's own")
        began = time.monotonic()
        with pytest.raises(TrackingUnavailable, match=r"ending the run: .* \(Connection refused\)"):
            run.finish("FAILED")
        assert time.monotonic() - began < run.server.patience / 10  # patience was in vain once; that is enough
    finally:
        server.start()
    with JournalUploader(run, tmp_path):
        pass
    history = run.server.client.get_metric_history(run.id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 2.0)]


def wait_for_metric(run: Run) -> None:
    wait_until(lambda: "loss" in run.server.client.get_run(run.id).data.metrics)


def wait_until(condition: Callable[[], bool], seconds: float = 900) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it has not come"
        time.sleep(0.05)
