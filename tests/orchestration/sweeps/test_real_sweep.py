"""A sweep over γ and ω of the project's own chain, as users start it; a larger one, whose driver is killed, in soak."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from tests.conftest import REPOSITORY
from tests.e2e.pipeline import environment, training_worker, wait_for_writers, write_config

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real sweep")]

SCRIPT = REPOSITORY / "orchestration" / "sweep.py"
GAMMA, OMEGA = "schedule.gamma", "sampling.guidance_scale"
TRAINED = "split_train/psnr"  # of so few dancers, none is kept out


@dataclass(frozen=True)
class Finished:
    """A sweep over these values: where it stored what it made, and what it printed at its end."""

    gammas: tuple[float, ...]
    omegas: tuple[float, ...]
    storage: Path
    printed: str


SWEEPS = (
    pytest.param(((0.5,), (1.0, 2.0), False), id="undisturbed"),
    pytest.param(((0.5, 1.0), (1.0, 2.0), True), id="killed", marks=pytest.mark.soak),
)


@pytest.fixture(scope="module", params=SWEEPS)
def finished_sweep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A sweep that ran to its end; the larger one, of `make soak`, after its driver was killed while it trained."""
    gammas, omegas, killed = request.param
    folder = tmp_path_factory.mktemp("real_sweep")
    write_config(folder)
    content = {
        "preset": "small.yaml",
        "metric": TRAINED,
        "search": {GAMMA: list(gammas), OMEGA: list(omegas)},
        "set": {"storage": str(folder / "storage"), "stages.regional.iterations": 0},
        "budget": {
            **{"stages.spatial.iterations": 4, "stages.temporal_half.iterations": 0},
            **{"stages.temporal_full.iterations": 2, "training.validate_every": 0, "training.workers": 1},
        },
    }
    file = folder / "both.yaml"
    file.write_text(yaml.safe_dump(content))
    if killed:
        kill_while_it_trains(file, folder / "killed.log")
    done = subprocess.run(command(file), capture_output=True, text=True, env=environment(), timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
    return Finished(gammas, omegas, folder / "storage", done.stdout)


def command(file: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), str(file)]


def kill_while_it_trains(file: Path, log: Path) -> None:
    with (
        log.open("w") as output,
        subprocess.Popen(command(file), stdout=output, stderr=output, env=environment()) as driver,
    ):
        process, deadline = psutil.Process(driver.pid), time.monotonic() + 1800
        while training_worker(process) is None:
            assert driver.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        relatives = process.children(recursive=True)
        driver.kill()
    wait_for_writers(relatives)


def finished_stages(storage: Path, stage: str) -> list[dict]:
    return [json.loads(file.read_text()) for file in storage.glob(f"{stage}/*/done.json")]


def test_each_gamma_is_trained_once_and_sampled_with_every_omega(finished_sweep: Finished) -> None:
    stages = ("dancers", "preprocess", "spatial", "temporal_full", "evaluate")
    counts = {stage: len(finished_stages(finished_sweep.storage, stage)) for stage in stages}
    trained, evaluated = len(finished_sweep.gammas), len(finished_sweep.gammas) * len(finished_sweep.omegas)
    training = {"spatial": trained, "temporal_full": trained}
    assert counts == {"dancers": 1, "preprocess": 1, **training, "evaluate": evaluated}
    values = {one["metrics"][TRAINED] for one in finished_stages(finished_sweep.storage, "evaluate")}
    assert len(values) == evaluated


def test_every_trial_is_one_finished_run_with_its_gamma_and_omega(finished_sweep: Finished) -> None:
    """After a killing, too."""
    client = MlflowClient(f"sqlite:///{finished_sweep.storage / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("hia").experiment_id])
    trials = [run.data.tags for run in runs if run.data.tags["hia.kind"] == "trial"]
    wanted = {(f"{gamma:g}", f"{omega:g}") for gamma in finished_sweep.gammas for omega in finished_sweep.omegas}
    assert {(tags["gamma"], tags["omega"]) for tags in trials} == wanted
    assert len(trials) == len(wanted)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_nothing_is_registered_or_exported(finished_sweep: Finished) -> None:
    storage = finished_sweep.storage
    assert not (storage / "export").exists()
    assert not MlflowClient(f"sqlite:///{storage / 'mlflow.db'}").search_registered_models()


def test_it_ends_with_a_table_the_best_and_what_to_do_next(finished_sweep: Finished) -> None:
    (folder,) = (finished_sweep.storage / "sweeps").glob("both-*")
    printed = finished_sweep.printed
    assert "best: γ=" in printed and f"run_all.py --preset {folder / 'best.yaml'}" in printed
    assert {path.name for path in folder.iterdir()} >= {"results.csv", "results.md", "results.png", "best.yaml"}
