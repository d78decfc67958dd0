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

import yaml

from hia.config import Config
from orchestration.chain import ChainStage, StageRun
from orchestration.stages.content_hashes import ContentHashes
from tests.conftest import TINY_CONFIG
from tests.orchestration.toy_chain import toy_stages

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


if __name__ == "__main__":
    from orchestration.sweep import main

    sys.exit(main(None, sweep_stages))
