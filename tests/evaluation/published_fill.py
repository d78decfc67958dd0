"""A reproducible fill for networks: graphs can be compared with published ones without their weights.

The numbers in the tests were made by loading this fill into the published modules: pytorch-fid 0.3.0's InceptionV3 on
torchvision 0.28's blocks, DisCo's resnet3d.py and inception3d.py, cd-fvd's pytorch_i3d.py, and lpips 0.1.4's LPIPS.
"""

import numpy as np
import torch
from torch import Tensor, nn


def fill(network: nn.Module) -> nn.Module:
    """Give every tensor numbers that follow from its name and shape alone; activations keep their scale."""
    state = {key: _values(key, value) for key, value in network.state_dict().items() if _is_filled(key)}
    network.load_state_dict(state, strict=False)
    return network.eval()


def picture(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Tensor:
    """An input of even noise."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32))


def fingerprint(values: Tensor) -> list[float]:
    """Three numbers that change when any of the values does: mean, size, and a sum in which places count."""
    flat = values.detach().double().flatten()
    places = torch.cos(torch.arange(len(flat), dtype=torch.float64))
    return [float(flat.mean()), float(flat.norm()), float(flat @ places)]


def _is_filled(key: str) -> bool:
    return not key.endswith("num_batches_tracked") and not key.startswith(("scaling_layer", "shift", "scale"))


def _values(key: str, value: Tensor) -> Tensor:
    # Published modules hold some of their parts under other names; the last digits tell layers apart just as well.
    seed = sum(position * ord(letter) for position, letter in enumerate(key, start=1))
    numbers = np.random.default_rng(seed).standard_normal(tuple(value.shape))
    if key.endswith("running_var"):
        numbers = 0.7 + 0.3 * np.abs(numbers)
    elif value.ndim > 1:
        numbers = numbers * np.sqrt(2 / np.prod(value.shape[1:]))
    elif key.endswith("weight"):
        numbers = 1 + 0.1 * numbers
    else:
        numbers = 0.1 * numbers
    return torch.from_numpy(np.asarray(numbers, np.float32))
