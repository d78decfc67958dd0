"""Distributed training: rank and device of this process, and the process group of `torch.distributed`."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from orchestration.training.run import TrainingRun


@dataclass(frozen=True)
class Process:
    """This process among those that train together; `torch.distributed` must have been started."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True for rank 0, which writes."""
        return self.rank == 0


def this_process(gpu: bool) -> Process:
    """Rank, world size and device of this process; allows TF32 on GPUs. Raises ValueError where there is no GPU."""
    if gpu and not torch.cuda.is_available():
        raise ValueError("training.gpus_per_worker is 1, but PyTorch sees no GPU here")
    device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
    if gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return Process(dist.get_rank(), dist.get_world_size(), device)


@contextmanager
def process_group(run: TrainingRun) -> Iterator[None]:
    """Run `torch.distributed` inside the block: over torchrun's processes, else over this one alone."""
    if dist.is_initialized():
        yield
        return
    gpu = bool(run.config.training.gpus_per_worker)
    backend, timeout = ("nccl" if gpu else "gloo"), timedelta(minutes=run.config.training.timeout_minutes)
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    missing = {name: value for name, value in alone.items() if name not in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(missing)  # DeepSpeed reads them; without them it looks for MPI
        if gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if missing:
            store = dist.FileStore(str(Path(folder) / "store"), 1)
            dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
        else:
            dist.init_process_group(backend, timeout=timeout)
        try:
            yield
        finally:
            dist.destroy_process_group()
            _forget_groups()
            for name in missing:
                os.environ.pop(name, None)


def _forget_groups() -> None:
    """Reset DeepSpeed's process groups, so that this process can train again: it keeps those of a destroyed world."""
    import deepspeed.comm.comm
    from deepspeed.utils import groups

    deepspeed.comm.comm.cdb = None
    for name, value in vars(groups).items():
        if name.startswith("_") and not name.startswith("__") and not callable(value) and not isinstance(value, str):
            setattr(groups, name, {} if isinstance(value, dict) else None)
