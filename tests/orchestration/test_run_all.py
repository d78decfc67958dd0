"""The main job's command: refused input, exit statuses, messages."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hia.pose.keypoints import KeypointSequence
from orchestration.environment import RAY_JOB
from orchestration.run_all import main
from tests.conftest import REPOSITORY, TINY, TINY_CONFIG
from tests.data.tiny_store import TinyClip, write_store
from tests.orchestration.toy_chain import toy_stages

SCRIPT = REPOSITORY / "orchestration" / "run_all.py"
TOY = REPOSITORY / "tests" / "orchestration" / "toy_chain.py"
CHAIN = (
    *("preprocess", "spatial", "regional", "temporal_half", "temporal_full"),
    *("evaluate", "export", "register", "sample"),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the toy chain's numbers in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "numbers.txt").write_text("3 1 2")
    return tmp_path


def options(*more: str) -> list[str]:
    return ["--preset", str(TINY_CONFIG), "--set", *TINY, *more]


def toy(*more: str) -> int:
    return main([*options("preprocess.test_list=numbers.txt"), *more], toy_stages)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def real_store(folder: Path, split: str = "train") -> Path:
    """A store of one clip of noise."""
    points, noise = np.full((6, 133, 2), 20.0, np.float32), np.random.default_rng(0)
    frames = noise.integers(0, 256, (6, 48, 32, 3), dtype=np.uint8)
    keypoints = KeypointSequence(points, np.ones((6, 133), np.float32), 32, 48, 25.0)
    return write_store(folder, [TinyClip("noise.mp4", keypoints, frames, split)])  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ the plan


def test_a_dry_run_shows_the_whole_chain_in_order_and_makes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options(), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "dancers", *CHAIN]
    assert all("run" in line.split()[1] for line in lines[1:])
    assert [path.name for path in place.iterdir()] == ["numbers.txt"]


def test_a_clip_store_is_taken_as_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real_store(place / "store")
    assert main([*options(), "--data", "store", "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(CHAIN)


def test_a_stage_without_iterations_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options("stages.regional.iterations=0"), "--dry-run"]) == 0
    assert "regional" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", [[str(SCRIPT)], ["-m", "orchestration.run_all"]])
def test_it_runs_as_a_script_from_anywhere_and_as_a_module(place: Path, command: list[str]) -> None:
    module = command[0] == "-m"
    environment = os.environ | ({"PYTHONPATH": str(REPOSITORY)} if module else {})
    done = subprocess.run(
        [sys.executable, "-P", *command, *options(), "--dry-run"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "temporal_full" in done.stdout and done.stderr == ""


def test_a_dry_run_after_a_run_says_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy()
    capsys.readouterr()
    toy("--set", "sampling.guidance_scale=2", "--dry-run")
    table = capsys.readouterr().out
    assert [line.split()[1] for line in table.splitlines()[1:]] == ["reuse", "reuse", "run", "run"]
    assert "sampling.guidance_scale: 3.5 → 2.0" in table


# ------------------------------------------------------------------------------------------------ how it ends


def test_success_tells_the_metrics_against_the_baseline_and_the_time_of_each_stage(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy() == 0
    told = capsys.readouterr().out
    assert f"mlflow ui --backend-store-uri sqlite:///{place / 'runs' / 'mlflow.db'}" in told
    assert "[2/4] steps: done in" in told


def test_a_failing_stage_ends_with_status_1_and_its_reason_as_the_last_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "steps.fails").write_text("the loss is not finite")
    assert toy() == 1
    assert last_line(capsys) == "run_all: steps failed: the loss is not finite"
    assert statuses(place) == {"pipeline": "FAILED", "numbers": "FINISHED", "steps": "FAILED"}


def test_after_a_failure_the_same_command_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "steps.fails").write_text("power cut")
    toy()
    (place / "steps.fails").unlink()
    assert toy() == 0
    assert "goes on from step 4 of 8" in capsys.readouterr().out
    assert set(statuses(place).values()) == {"FINISHED"}


def test_quiet_tells_the_summary_only(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy("--quiet")
    assert "[1/4]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "nowhere"], "no such folder or file"),
        (["--data", "empty"], "no video in"),
        (["--data", "."], "has the run's own folder in it"),
        (["--from", "spatail"], "--from spatail: no such stage here; choose one of dancers, preprocess"),
        (["--only", "regional"], "--only regional needs dancers, which is not done"),
        (["--set", "sampling.stepz=3"], "did you mean steps"),
        (["--set", "storage=numbers.txt/runs"], "storage=.*cannot be written to"),
        (["--set", "storage=s3://bucket/runs"], "must be a folder"),
        (["--set", "pretrained.unet=nowhere"], "weights not found"),
        (["--set", "network.block_out_channels=[65536,65536]"], "does not fit"),
    ],
)
def test_bad_input_is_refused_with_status_2_before_any_work(
    place: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    (place / "empty").mkdir()
    assert main([*options(), *more]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not list((place / "runs").glob("*/*"))


def test_a_store_without_clips_to_train_on_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real_store(place / "store", split="test")
    assert main([*options(), "--data", "store"]) == 2
    assert "nothing to train on: all 1 clips are kept for testing" in last_line(capsys)


# ------------------------------------------------------------------------------------------------ interrupted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_ends_with_130_and_leaves_no_run_running(
    place: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    if number == signal.SIGINT:  # which a shell makes its background jobs ignore, the tests among them
        signal.signal(number, signal.default_int_handler)
    (place / "steps.waits").touch()
    thread = threading.Thread(target=lambda: (wait_for(place / "steps.reached"), os.kill(os.getpid(), number)))
    thread.start()
    assert toy() == 130
    thread.join()
    assert last_line(capsys) == "run_all: interrupted; the same command goes on from there"
    assert statuses(place) == {"pipeline": "KILLED", "numbers": "FINISHED", "steps": "KILLED"}


@pytest.mark.slow
def test_after_a_killed_driver_the_same_command_goes_on_and_no_run_stays_running(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "steps.waits").touch()
    command = [sys.executable, str(TOY), *options("preprocess.test_list=numbers.txt"), "--quiet"]
    with subprocess.Popen(command, cwd=place, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) as process:
        wait_for(place / "steps.reached")
        process.kill()
    assert statuses(place)["steps"] == "RUNNING"
    (place / "steps.waits").unlink()
    assert toy() == 0
    assert "goes on from step 4 of 8" in capsys.readouterr().out
    assert set(statuses(place).values()) == {"FINISHED"}
    assert len(runs(place)) == 5  # the chain and its four stages: the killed ones were taken up again


# ------------------------------------------------------------------------------------------------ a job


def test_in_a_job_the_default_storage_is_in_the_home_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv(RAY_JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_12.zip"}}))
    assert main([*options(), "--dry-run"]) == 0
    assert str(place / "home" / "hia-runs") in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--data", "videos"], ["--set", "storage=my-runs"]])
def test_in_a_job_relative_places_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    monkeypatch.setenv(RAY_JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_12.zip"}}))
    assert main([*options(), *more]) == 2
    assert "must be an absolute path" in last_line(capsys)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 900
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.05)


def runs(place: Path) -> list[tuple[str, str]]:
    """(name, status) of every tracking run: `pipeline`, or a stage."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [(run.data.tags.get("stage", "pipeline"), run.info.status) for run in client.search_runs(experiments)]


def statuses(place: Path) -> dict[str, str]:
    return dict(runs(place))
