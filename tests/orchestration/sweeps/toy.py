"""Sweeps over a chain of small real stages: numbers → steps → evaluate → listed.

`steps` stands for training, by stages.spatial.iterations; `evaluate` measures a psnr that is best where
sampling.guidance_scale is 2, more for more steps and less for a larger seed. Beside the numbers, `ran.txt` has a line
for every stage that ran; `fails_at.txt` names an ω at which the evaluation fails, `waits_at.txt` one at which it waits
while that file is there.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hia.config import Config
from orchestration.chain import ChainStage, StageRun
from orchestration.stages.content_hashes import ContentHashes
from tests.orchestration.toy_chain import toy_stages

if TYPE_CHECKING:
    from mlflow.entities import Run

    from orchestration.sweeps.trials import Record

# Not from the tests' own conftest: it imports what every process of a sweep would import too.
TINY_CONFIG = Path(__file__).resolve().parents[2] / "tiny.yaml"
RAN, FAILS, WAITS, REACHED = "ran.txt", "fails_at.txt", "waits_at.txt", "reached.txt"
OMEGA, STEPS = "sampling.guidance_scale", "stages.spatial.iterations"


def sweep_stages(config: Config, _contents: ContentHashes | None = None) -> Sequence[ChainStage]:
    """The chain of a configuration."""
    numbers, steps, report, listed = toy_stages(config)
    folder = Path(str(config.preprocess.test_list)).parent

    def evaluate(run: StageRun) -> dict[str, float]:
        omega = config.sampling.guidance_scale
        if _is_at(folder / FAILS, omega):
            raise ValueError(f"nothing can be seen at {omega:g}")
        (folder / REACHED).touch()
        while _is_at(folder / WAITS, omega):
            time.sleep(0.02)
        trained = report.run(run)["psnr"]
        return {"psnr": trained - (omega - 2) ** 2 - config.seed, "ssim": 0.5, "repeat_reference/psnr": 1.0}

    judge = replace(report, name="evaluate", run=evaluate)
    chain = (numbers, steps, judge, replace(listed, inputs=("evaluate",)))
    return tuple(replace(stage, run=_noted(stage, folder)) for stage in chain)


def _noted(stage: ChainStage, folder: Path) -> Callable[[StageRun], dict[str, float]]:
    def run(given: StageRun) -> dict[str, float]:
        with (folder / RAN).open("a") as file:
            file.write(f"{stage.name}\n")
        return stage.run(given)

    return run


def _is_at(file: Path, omega: float) -> bool:
    return file.exists() and float(file.read_text()) == omega


def ran(folder: Path) -> list[str]:
    """Names of the stages that ran, in alphabetical order."""
    return sorted((folder / RAN).read_text().split()) if (folder / RAN).exists() else []


def write_sweep(folder: Path, **content: object) -> Path:
    """A sweep file beside the numbers that its chain adds up."""
    (folder / "numbers.txt").write_text("3 1 2")
    file = folder / "toy.yaml"
    fixed = {"preprocess.test_list": str(folder / "numbers.txt"), "storage": str(folder / "runs")}
    file.write_text(yaml.safe_dump({"preset": str(TINY_CONFIG), "set": fixed, "concurrent": 2} | content))
    return file


# ------------------------------------------------------------------------------------------------ for the tests


def sweep(file: Path, *more: str) -> int:
    """Run the sweep's command in this process; its exit status."""
    from orchestration.sweep import main

    return main([str(file), *more], sweep_stages)


def folder_of(place: Path) -> Path:
    """The folder of the only sweep."""
    (folder,) = (place / "runs" / "sweeps").glob("toy-*")
    return folder


def runs(place: Path) -> "list[Run]":
    """Every tracking run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments)


def of_kind(place: Path, kind: str) -> "list[Run]":
    """The tracking runs of a sweep, of trials or of stages."""
    return [run for run in runs(place) if run.data.tags["hia.kind"] == kind]


def states(place: Path) -> dict[float, str]:
    """The state of each trial, by its ω."""
    return {record.values[OMEGA]: record.state for record in read_all(place)}


def read_all(place: Path) -> "list[Record]":
    """The records of all trials that have begun."""
    from orchestration.sweeps.trials import read_records

    return [record for folder in (place / "runs" / "sweeps").glob("toy-*") for record in read_records(folder)]


if __name__ == "__main__":
    from orchestration.sweep import main

    sys.exit(main(None, sweep_stages))
