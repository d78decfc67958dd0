"""A sweep over γ and ω of the project's own chain, whose driver is killed in the middle, as users start it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from tests.conftest import REPOSITORY
from tests.e2e.pipeline import environment, training_worker, wait_for_writers, write_config

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chains")]

SCRIPT = REPOSITORY / "orchestration" / "sweep.py"
GAMMA, OMEGA = "schedule.gamma", "sampling.guidance_scale"
TRAINED = "split_train/psnr"  # of so few dancers, none is kept out


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The storage of a 2×2 sweep that was killed while it trained and then run to its end; what the end said."""
    folder = tmp_path_factory.mktemp("real_sweep")
    write_config(folder)
    content = {
        "preset": "small.yaml",
        "metric": TRAINED,
        "search": {GAMMA: [0.5, 1.0], OMEGA: [1.0, 2.0]},
        "set": {"storage": str(folder / "storage"), "stages.regional.iterations": 0},
        "budget": {
            **{"stages.spatial.iterations": 4, "stages.temporal_half.iterations": 0},
            **{"stages.temporal_full.iterations": 2, "training.validate_every": 0, "training.workers": 1},
        },
    }
    file = folder / "both.yaml"
    file.write_text(yaml.safe_dump(content))
    kill_while_it_trains(file, folder / "killed.log")
    done = subprocess.run(command(file), capture_output=True, text=True, env=environment(), timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "storage", done.stdout


def command(file: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), str(file)]


def kill_while_it_trains(file: Path, log: Path) -> None:
    with (
        log.open("w") as output,
        subprocess.Popen(command(file), stdout=output, stderr=output, env=environment()) as driver,
    ):
        process, deadline = psutil.Process(driver.pid), time.monotonic() + 900
        while training_worker(process) is None:
            assert driver.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        relatives = process.children(recursive=True)
        driver.kill()
    wait_for_writers(relatives)


def finished(storage: Path, stage: str) -> list[dict]:
    return [json.loads(file.read_text()) for file in storage.glob(f"{stage}/*/done.json")]


def test_each_gamma_is_trained_once_and_sampled_with_every_omega(resumed: tuple[Path, str]) -> None:
    storage, _ = resumed
    counts = {
        stage: len(finished(storage, stage))
        for stage in ("dancers", "preprocess", "spatial", "temporal_full", "evaluate")
    }
    assert counts == {"dancers": 1, "preprocess": 1, "spatial": 2, "temporal_full": 2, "evaluate": 4}
    assert len({one["metrics"][TRAINED] for one in finished(storage, "evaluate")}) == 4


def test_after_the_killing_every_trial_is_one_finished_run_with_its_gamma_and_omega(
    resumed: tuple[Path, str],
) -> None:
    storage, _ = resumed
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("hia").experiment_id])
    trials = [run.data.tags for run in runs if run.data.tags["hia.kind"] == "trial"]
    assert {(tags["gamma"], tags["omega"]) for tags in trials} == {("0.5", "1"), ("0.5", "2"), ("1", "1"), ("1", "2")}
    assert len(trials) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_nothing_is_registered_or_exported(resumed: tuple[Path, str]) -> None:
    storage, _ = resumed
    assert not (storage / "export").exists()
    assert not MlflowClient(f"sqlite:///{storage / 'mlflow.db'}").search_registered_models()


def test_it_ends_with_a_table_the_best_and_what_to_do_next(resumed: tuple[Path, str]) -> None:
    storage, told = resumed
    (folder,) = (storage / "sweeps").glob("both-*")
    assert "best: γ=" in told and f"run_all.py --preset {folder / 'best.yaml'}" in told
    assert {path.name for path in folder.iterdir()} >= {"results.csv", "results.md", "results.png", "best.yaml"}
