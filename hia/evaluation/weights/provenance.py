"""Reading weights together with what is known about them, on which the name of a metric depends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hia.evaluation.weights.digests import AlteredWeights, require_digest, sha256_of
from hia.evaluation.weights.flax_files import read_flax_i3d, read_flax_lpips
from hia.evaluation.weights.official import OFFICIAL, Network, WeightFile
from hia.evaluation.weights.places import find_files
from hia.weights import load_state

READERS = {"torch": load_state, "flax_i3d": read_flax_i3d, "flax_lpips": read_flax_lpips}


class UnknownWeights(ValueError):
    """A published metric was asked for, but its network's weights are not the published ones."""


@dataclass(frozen=True)
class Provenance:
    """Whose numbers these are. files: SHA-256 of every file of weights by its path, none for a network made elsewhere.

    known: the weights are the published ones. variant: of several published graphs, which.
    """

    network: str
    files: Mapping[str, str]
    known: bool
    variant: str = ""


def official_state(network: Network, download: bool = False) -> tuple[dict[str, Tensor], Provenance]:
    """The published weights of a network, wherever they lie (see `find_files`), checked.

    Raises MissingWeights when they are nowhere, AlteredWeights for a file of that name with another content, ValueError
    for a damaged one, and OSError when a download fails.
    """
    state: dict[str, Tensor] = {}
    digests = {}
    for file, path in find_files(OFFICIAL[network], download):
        if file.digest is not None:
            require_digest(path, file.digest)
        state |= _read(file, path)
        digests[str(path)] = sha256_of(path)
    return state, Provenance(network, digests, known=True)


def state_of_file(network: Network, path: str | Path) -> tuple[dict[str, Tensor], Provenance]:
    """Weights of a given file, which may be the published ones under any name, or anybody's own (then not `known`).

    Raises MissingWeights when there is no such file, and ValueError when it cannot be read.
    """
    path = Path(path)
    state = load_state(path) if not path.is_file() or path.suffix != ".ckpt" else None
    published = [file for files in OFFICIAL[network].alternatives if len(files) == 1 for file in files]
    for file in published:
        if file.digest is not None and _has_digest(path, file.digest):
            return _read(file, path), Provenance(network, {str(path): sha256_of(path)}, known=True)
    if state is None:
        raise ValueError(f"{path}: weights of one's own are read from .safetensors, .pt, .pth and .bin files")
    # Not all files that may be official have a digest: such a one is, if it goes by its name.
    named = [file for file in published if file.digest is None and file.name == path.name]
    tensors = _trimmed(named[0], state) if named else state
    return tensors, Provenance(network, {str(path): sha256_of(path)}, known=bool(named))


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
