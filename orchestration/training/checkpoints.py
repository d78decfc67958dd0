"""Checkpoints of a stage: written aside by all workers, then renamed; a killed write leaves none.

A checkpoint is a folder `step_000100` with DeepSpeed's shards (weights that are trained, optimizer, learning rate),
the state of the loop, and the moving average of the weights. Batches and noise follow from the step alone.
DeepSpeed's files are pickles: checkpoints are read back by the run that wrote them, and never shared.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from orchestration.training.run import CHECKPOINTS, TrainingFailed

TAG = "deepspeed"
STATE = "checkpoint.json"
AVERAGE = "average.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint. memory: the state of the loop's meters."""

    path: Path
    step: int
    world_size: int
    zero_stage: int
    memory: dict[str, Any]


def newest(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The newest finished checkpoint of a stage's folder.

    Raises TrainingFailed when it was written by another run.
    """
    finished = sorted(folder.glob(f"{CHECKPOINTS}/step_*"))
    if not finished:
        return None
    path = finished[-1]
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    if state["fingerprint"] != fingerprint:
        raise TrainingFailed(f"{path} was written by a run with another configuration: remove it, or use its settings")
    return Checkpoint(path, state["step"], state["world_size"], state["zero_stage"], state["memory"])


def save(
    engine: Any,
    folder: Path,
    step: int,
    zero_stage: int,
    fingerprint: str,
    memory: Mapping[str, Any],
    average: Mapping[str, Tensor] | None,
    keep: int,
) -> Path:
    """Write a checkpoint, all workers together, and remove the oldest beyond `keep`."""
    path = folder / CHECKPOINTS / f"step_{step:06d}"
    aside = path.with_name(f".{path.name}.partial")
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(aside, ignore_errors=True)  # of workers that were killed
        aside.mkdir(parents=True)
    dist.barrier()
    engine.save_checkpoint(str(aside), tag=TAG, save_latest=False, exclude_frozen_parameters=True)
    if first:
        if average is not None:
            save_file({name: tensor.contiguous() for name, tensor in average.items()}, aside / AVERAGE)
        state = {
            "step": step,
            "world_size": dist.get_world_size(),
            "zero_stage": zero_stage,
            "fingerprint": fingerprint,
            "memory": dict(memory),
        }
        (aside / STATE).write_text(json.dumps(state), encoding="utf-8")
    dist.barrier()
    if first:
        os.rename(aside, path)
        for old in sorted(path.parent.glob("step_*"))[:-keep]:
            remove(old)
    return path


def remove(path: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that half of one is never found under its name."""
    gone = path.with_name(f".{path.name}.gone")
    os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Remove partial checkpoints of killed workers."""
    for leftover in folder.glob(f"{CHECKPOINTS}/.step_*"):
        shutil.rmtree(leftover, ignore_errors=True)


def needs_conversion(checkpoint: Checkpoint, world_size: int, zero_stage: int) -> bool:
    """Check whether DeepSpeed's shards were written by another number of workers.

    Raises TrainingFailed for another ZeRO stage, between which DeepSpeed does not convert.
    """
    if checkpoint.zero_stage != zero_stage:
        raise TrainingFailed(
            f"{checkpoint.path} was written with training.zero_stage={checkpoint.zero_stage}, now it is {zero_stage}: "
            "finish this stage with the former, or remove the checkpoint"
        )
    return checkpoint.world_size != world_size and zero_stage > 0


def load(engine: Any, checkpoint: Checkpoint, convert: bool) -> dict[str, Tensor] | None:
    """Restore the engine from a checkpoint; returns the moving average, if it has one."""
    source = _converted(checkpoint) if convert else checkpoint.path
    dist.barrier()
    loaded, _ = engine.load_checkpoint(str(source), tag=TAG, load_module_strict=False)
    if loaded is None:
        raise TrainingFailed(f"{checkpoint.path}: DeepSpeed cannot read it; remove it to go on from the one before")
    file = checkpoint.path / AVERAGE
    return load_file(file) if file.is_file() else None


def _converted(checkpoint: Checkpoint) -> Path:
    """The checkpoint in DeepSpeed's universal form, which any number of workers can read."""
    target = checkpoint.path.with_name(f".{checkpoint.path.name}.universal")
    if dist.get_rank() == 0:
        shutil.rmtree(target, ignore_errors=True)
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
        command += ["--input_folder", str(checkpoint.path / TAG), "--output_folder", str(target / TAG)]
        command += ["--num_extract_workers", "1", "--num_merge_workers", "1", "--inject_missing_state"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise TrainingFailed(
                f"{checkpoint.path}: cannot be converted for {dist.get_world_size()} workers:\n{done.stderr[-1000:]}"
            )
    dist.barrier()
    return target
