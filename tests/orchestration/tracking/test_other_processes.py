"""Other processes: none is disturbed, nothing of a killed one is left RUNNING."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.tracking import Run, Tracking
from tests.conftest import REPOSITORY
from tests.orchestration.tracking.seen import seen

DRIVER = """
import sys, time
from orchestration.tracking import connect_tracking
tracking = connect_tracking(sys.argv[1])
parent = tracking.start_pipeline(sys.argv[2], {}, {})
stage = tracking.start_stage(parent, "spatial", sys.argv[2], {}, {})
print(parent.id, stage.id, flush=True)
time.sleep(600)
"""


@dataclass
class Driver:
    """Another process with a pipeline and a stage that are going on."""

    process: subprocess.Popen[str]
    pipeline: str
    stage: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def driver(storage: Path, tracking: Tracking) -> Iterator[Driver]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(storage), "d" * 64], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield Driver(process, *process.stdout.readline().split())
    process.kill()
    process.wait()


def test_a_pipeline_that_a_living_process_is_at_is_left_to_it(tracking: Tracking, driver: Driver) -> None:
    assert tracking.start_pipeline("d" * 64, {}, {}).id != driver.pipeline


def test_runs_of_living_processes_are_no_orphans(tracking: Tracking, driver: Driver, stage: Run) -> None:
    tracking.close_orphans()
    assert [seen(run, tracking).info.status for run in (driver.pipeline, driver.stage, stage.id)] == ["RUNNING"] * 3


def test_runs_of_killed_processes_are_closed_and_say_why(tracking: Tracking, driver: Driver, stage: Run) -> None:
    driver.kill()
    tracking.close_orphans()
    for run in (driver.pipeline, driver.stage):
        assert seen(run, tracking).info.status == "KILLED"
        assert str(driver.process.pid) in seen(run, tracking).data.tags["hia.error"]
    assert seen(stage).info.status == "RUNNING"


def test_a_number_that_another_process_got_since_does_not_keep_a_run_alive(tracking: Tracking, stage: Run) -> None:
    stage.set_tags({"hia.process_started": f"{time.time() - 86400:.2f}"})
    tracking.close_orphans()
    assert seen(stage).info.status == "KILLED"


def test_runs_on_other_machines_are_not_judged(tracking: Tracking, stage: Run) -> None:
    stage.set_tags({"hia.host": "elsewhere", "hia.pid": "1", "hia.process_started": "1.0"})
    tracking.close_orphans()
    assert seen(stage).info.status == "RUNNING"


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_new_storage_share_one_experiment(tmp_path: Path) -> None:
    program = "import sys; from orchestration.tracking import *; print(connect_tracking(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0].rpartition("experiment_id")[2] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(answers) == 1
