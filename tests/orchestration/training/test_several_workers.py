"""Two workers, started by torchrun: the same training as one, whichever ZeRO stage shards it."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from orchestration.names import JOURNAL
from orchestration.tracking.journal import JournalWriter, read_new
from orchestration.train import to_json
from orchestration.training.checkpoints import newest
from orchestration.training.loop import train_in_process
from orchestration.training.run import TrainingRun
from tests.conftest import REPOSITORY
from tests.orchestration.training.tiny_runs import tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workers")]

STEPS = ("stages.spatial.iterations=4", "training.log_every=1")


def train_with_two(*runs: TrainingRun) -> None:
    """By two workers: one run as users start it, several one after the other."""
    files = [run.path / "run.json" for run in runs]
    for run, file in zip(runs, files, strict=True):
        file.write_text(json.dumps(to_json(run)))
    module = "orchestration.train" if len(runs) == 1 else "tests.orchestration.training.one_after_the_other"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", module, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(run: TrainingRun) -> list[float]:
    """The losses of every line of metrics."""
    entries, _ = read_new(run.path / JOURNAL)
    return [entry.values["loss"] for entry in entries if "loss" in getattr(entry, "values", {})]


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    files = sorted((run.path / "weights").iterdir())
    return {f"{file.stem}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def difference(one: TrainingRun, other: TrainingRun) -> float:
    """Mean distance of weights, in learning rates: Adam moves a weight by about one in each step.

    Single weights, whose gradient is zero except for rounding, may go different ways.
    """
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in first)
    return apart / sum(tensor.numel() for tensor in first.values()) / one.config.optimizer.learning_rate


@pytest.fixture(scope="module")
def by_two(dancers_store, tmp_path_factory):
    """The runs that two workers trained, by ZeRO stage."""
    folder = tmp_path_factory.mktemp("by_two")
    runs = {
        stage: tiny_run(
            dancers_store, folder, *STEPS, "training.workers=2", f"training.zero_stage={stage}", name=f"zero_{stage}"
        )
        for stage in (0, 1, 2, 3)
    }
    train_with_two(runs[2])
    train_with_two(*(run for stage, run in runs.items() if stage != 2))
    return runs


def test_all_zero_stages_and_one_accumulating_worker_give_the_same_losses(a_run, by_two):
    alone = a_run(*STEPS)
    assert alone.settings.accumulation(1) == 2
    train_in_process(alone, JournalWriter(alone.path / JOURNAL))
    for stage, run in by_two.items():
        assert losses(run) == pytest.approx(losses(alone), rel=2e-5), f"ZeRO {stage}"
        assert difference(run, alone) < 0.01, f"ZeRO {stage}"


def test_another_number_of_workers_goes_on_where_two_left_off(a_run, by_two):
    shorter = a_run(*STEPS)
    whole = by_two[shorter.config.training.zero_stage]
    shutil.copytree(whole.path / "checkpoints", shorter.path / "checkpoints")
    assert newest(shorter.path, "tests").world_size == 2
    train_in_process(shorter)
    assert difference(shorter, whole) < 0.01
