"""Twelve killings, each at a moment of its own: the chain ends with the same weights every time. `make soak`."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest
import torch
from mlflow import MlflowClient

from tests.e2e.pipeline import folder_of, run_all, run_and_kill, training_worker, weights, write_config

pytestmark = pytest.mark.soak

STAGES = ("spatial", "regional", "temporal_half", "temporal_full")


@dataclass(frozen=True)
class Moment:
    """The moment of a killing: once a file like `pattern` is in the newest folder of the stage, up to `later` s on."""

    victim: str
    stage: str
    pattern: str
    later: float = 0.0

    def __str__(self) -> str:
        return f"{self.victim}-{self.stage}-{self.pattern.replace('/', '.')}"


MOMENTS = (
    Moment("driver", "dancers", "videos/*.npz", 0.5),
    Moment("driver", "preprocess", "store/videos/*.json", 0.5),
    Moment("worker", "spatial", "journal.jsonl", 1.0),
    Moment("worker", "spatial", "checkpoints/.step_*"),
    Moment("driver", "spatial", "checkpoints/.step_*"),
    Moment("driver", "spatial", "done.json", 2.0),
    Moment("worker", "regional", "stage.json", 8.0),
    Moment("driver", "regional", "checkpoints/step_*", 1.0),
    Moment("driver", "temporal_half", "weights", 0.2),
    Moment("worker", "temporal_full", "checkpoints/step_*", 0.5),
    Moment("driver", "evaluate", "stage.json", 8.0),
    Moment("driver", "export", "done.json", 1.0),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("soak"))


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> dict[str, torch.Tensor]:
    storage = tmp_path_factory.mktemp("undisturbed") / "storage"
    ended = run_all("--preset", config, "--set", f"storage={storage}")
    assert ended.status == 0, ended.err[-3000:]
    return weights(storage)


def victim_of(moment: Moment, storage: Path, seed: int) -> Callable[[psutil.Process], psutil.Process | None]:
    """Names the process to kill once the moment has come."""
    pause = random.Random(seed).uniform(0, moment.later)

    def choose(driver: psutil.Process) -> psutil.Process | None:
        folder = folder_of(storage, moment.stage)
        if folder is None or not any(folder.glob(moment.pattern)):
            return None
        time.sleep(pause)
        if moment.victim == "driver":
            return driver
        return training_worker(driver, rank=seed % 2)

    return choose


@pytest.mark.parametrize(("seed", "moment"), enumerate(MOMENTS), ids=map(str, MOMENTS))
def test_a_killing_changes_nothing(config, undisturbed, tmp_path, seed, moment):
    storage = tmp_path / "storage"
    arguments = ["--preset", config, "--set", f"storage={storage}"]
    status = run_and_kill(arguments, victim_of(moment, storage, seed), tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert status == (-9 if moment.victim == "driver" else 0), said[-3000:]
    ended = run_all(*arguments)
    assert ended.status == 0, ended.err[-3000:]
    ours = weights(storage)
    assert ours.keys() == undisturbed.keys()
    assert all(torch.equal(ours[name], undisturbed[name]) for name in ours)
    for stage in STAGES:
        assert not (folder_of(storage, stage) / "checkpoints").exists(), "a finished stage needs them no more"
    assert {run.info.status for run in _runs(storage)} == {"FINISHED"}
    for run in _runs(storage):
        steps = [metric.step for metric in _client(storage).get_metric_history(run.info.run_id, "loss")]
        assert sorted(steps) == sorted(set(steps)), "no step is told twice"


def _client(storage: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")


def _runs(storage: Path) -> list[mlflow.entities.Run]:
    experiment = _client(storage).get_experiment_by_name("hia")
    return _client(storage).search_runs([experiment.experiment_id])
