"""The processes that train together: who this one is, and what it is computed on."""

from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Process:
    """This process among those that train together; `torch.distributed` must have been started."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0


def this_process(gpu: bool) -> Process:
    """Who we are. Raises ValueError when a GPU is wanted and there is none."""
    if gpu and not torch.cuda.is_available():
        raise ValueError("training.gpus_per_worker is 1, but PyTorch sees no GPU here")
    device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
    if gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return Process(dist.get_rank(), dist.get_world_size(), device)
