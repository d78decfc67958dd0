"""Sweeps whose trials or drivers are killed or interrupted: what is marked, what runs again, what is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.conftest import PATIENT_RAY, REPOSITORY
from tests.orchestration.sweeps.toy import (
    OMEGA,
    REACHED,
    WAITS,
    of_kind,
    ran,
    read_all,
    runs,
    states,
    sweep,
    write_sweep,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

TOY = REPOSITORY / "tests" / "orchestration" / "sweeps" / "toy.py"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_trial_whose_process_is_lost_is_marked_and_the_others_go_on(cluster: str, tmp_path: Path) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0]}, concurrent=1)
    (tmp_path / WAITS).write_text("1")
    command = [sys.executable, str(TOY), str(file), "--quiet"]
    with subprocess.Popen(command, env=environment(cluster), stderr=subprocess.PIPE, text=True) as driver:
        wait_until((tmp_path / REACHED).exists, driver)
        trial_process().kill()
        (tmp_path / WAITS).unlink()
        _, said = driver.communicate(timeout=900)
    assert driver.returncode == 1 and "1 of 2 trials failed, such as ω=1: its process was lost" in said
    assert states(tmp_path) == {1.0: "failed", 2.0: "done"}
    assert {run.data.tags["omega"]: run.info.status for run in of_kind(tmp_path, "trial")} == {
        **{"1": "FAILED", "2": "FINISHED"}
    }
    assert all(run.info.status != "RUNNING" for run in runs(tmp_path))


def test_after_a_killed_driver_only_what_is_missing_runs(cluster: str, tmp_path: Path) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0, 3.5]}, concurrent=1)
    (tmp_path / WAITS).write_text("2")
    with subprocess.Popen([sys.executable, str(TOY), str(file), "--quiet"], env=environment(cluster)) as driver:
        wait_until(lambda: ran(tmp_path).count("evaluate") == 2, driver)
        trial = trial_process()
        driver.kill()
    assert not psutil.wait_procs([trial], timeout=300)[1], "the trial outlived its driver"
    assert states(tmp_path) == {1.0: "done", 2.0: "running"}
    (tmp_path / WAITS).unlink()
    assert sweep(file) == 0
    assert ran(tmp_path) == ["evaluate"] * 4 + ["numbers", "steps"]  # the evaluation that was killed ran again
    assert len(of_kind(tmp_path, "trial")) == 3 and len(of_kind(tmp_path, "sweep")) == 1
    assert {run.info.status for run in runs(tmp_path)} == {"FINISHED"}


@pytest.mark.parametrize(("number", "alone"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_an_interrupted_sweep_leaves_no_process_and_no_run_running(
    cluster: str, tmp_path: Path, number: signal.Signals, alone: bool
) -> None:
    """Neither on a cluster that it has joined nor, alone, of the one that it has started itself."""
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0]}, concurrent=2)
    (tmp_path / WAITS).write_text("2")
    command = [sys.executable, str(TOY), str(file), "--quiet"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which shells' background jobs are made to ignore
    with subprocess.Popen(
        command, env=environment(None if alone else cluster), stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as driver:
        wait_until(lambda: any(one.state == "done" for one in read_all(tmp_path)), driver)
        wait_until(lambda: "evaluate" in running_stages(tmp_path), driver)
        trials = trial_processes()
        assert trials
        relatives = [*psutil.Process(driver.pid).children(recursive=True), *trials]
        driver.send_signal(number)
        _, said = driver.communicate(timeout=900)
    assert driver.returncode == 130
    assert said.strip().splitlines()[-1] == "sweep: interrupted; the same command goes on from there"
    assert not psutil.wait_procs(relatives, timeout=300)[1]
    kinds = {run.data.tags["hia.kind"]: run.info.status for run in runs(tmp_path) if run.info.status != "FINISHED"}
    assert kinds == {"sweep": "KILLED", "trial": "KILLED", "stage": "KILLED"}


def environment(cluster: str | None) -> dict[str, str]:
    """A user's environment, in which a driver joins the cluster, or without one starts its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "RAY_"))}
    # To join, a driver needs the variables that `ray.init` has set here: the cluster asks for a token.
    token = {key: value for key, value in os.environ.items() if key.startswith("RAY_AUTH_")}
    joins = {"RAY_ADDRESS": cluster} | token if cluster else {}
    return kept | PATIENT_RAY | joins | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def wait_until(happened: Callable[[], bool], driver: subprocess.Popen) -> None:
    deadline = time.monotonic() + 900
    while not happened():
        assert time.monotonic() < deadline, "it did not come to that"
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)


def running_stages(place: Path) -> list[str]:
    return [run.data.tags["stage"] for run in of_kind(place, "stage") if run.info.status == "RUNNING"]


def trial_processes() -> list[psutil.Process]:
    """The processes of trials, on the drivers' own clusters and on the shared one: all descend from this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::ImplicitFunc" in " ".join(process.cmdline()):
                found.append(process)
    return found


def trial_process() -> psutil.Process:
    """The only one."""
    (found,) = trial_processes()
    return found
