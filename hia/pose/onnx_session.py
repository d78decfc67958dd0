"""ONNX models of poses: find or download the file, open a session on it, run batches through it."""

import re
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
import onnxruntime
from filelock import FileLock
from numpy.typing import NDArray
from rtmlib.tools.file import _get_rtmhub_dir, download_checkpoint

from hia.io.hashing import file_sha256
from hia.weights.find import MissingWeights, find_weights, weight_folders

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
LOG_ERRORS = 3


def model_file(place: str, hint: str) -> Path:
    """The local file of a model given by path or URL.

    A path is also searched in the folders of `$HIA_WEIGHTS`. A URL's file is searched there and in rtmlib's cache, then
    downloaded into that cache (archives are unpacked); several processes that want the same file wait for one
    download. Raises MissingWeights, whose message ends with `hint`: how the user can name the file's place.
    """
    if not re.match(r"https?://", place):
        return find_weights(place, hint=hint)
    # rtmlib gives this name to the model that it unpacks.
    archive = PurePosixPath(urlparse(place).path).name
    name = archive.split(".")[0] + ".onnx"
    for folder in weight_folders():
        if (folder / name).is_file():
            return folder / name
    cache = Path(_get_rtmhub_dir()) / "checkpoints"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{name}.lock"):
            return Path(download_checkpoint(place, dst_dir=str(cache)))
    except (OSError, HTTPException, zipfile.BadZipFile) as error:
        if isinstance(error, zipfile.BadZipFile):
            (cache / archive).unlink()
        raise MissingWeights(
            f"weights not found: {place} is not in {cache} and cannot be downloaded ({error}).\nTo get them: download "
            f"it elsewhere, unpack it if it is an archive, and put the model as {name} into a folder that "
            f"$HIA_WEIGHTS names; or {hint}"
        ) from None


def choose_provider(device: str) -> str:
    """ONNX Runtime's provider for "auto" (CUDA if there is one), "cpu" or "cuda". Raises ValueError."""
    offered = onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {device!r}")
    if device == "cuda" and CUDA not in offered:
        raise ValueError(
            f"device is cuda, but this ONNX Runtime only offers {', '.join(offered)}: "
            "install onnxruntime-gpu in place of onnxruntime, or use the device cpu"
        )
    return CUDA if device != "cpu" and CUDA in offered else CPU


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A session on a model of one picture input [n, 3, height, width].

    batched: True if it takes several pictures at once; digest: SHA-256 of the file.
    """

    file: Path
    session: Any
    width: int
    height: int
    batched: bool
    digest: str

    @classmethod
    def open(
        cls,
        file: Path,
        device: str = "auto",
        threads: int | None = None,
        size_if_free: tuple[int, int] | None = None,
    ) -> "OnnxModel":
        """Open a model file. threads: of ONNX Runtime within an operator; None for its own choice.

        size_if_free: (width, height) for a model that leaves its picture's size open; without it, such a model is
        refused. Raises ValueError naming the file when it is no ONNX model or takes anything but pictures, and when
        `device` is "cuda" and there is none.
        """
        session = _session(file, choose_provider(device), threads)
        if device == "cuda" and CUDA not in session.get_providers():
            raise ValueError(f"{file}: device is cuda, but ONNX Runtime could not start CUDA and fell back to the CPU")
        inputs = session.get_inputs()
        shape = list(inputs[0].shape)
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, None) or inputs[0].type != "tensor(float)":
            taken = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise ValueError(f"{file}: the model must take one float picture [1, 3, height, width], but takes {taken}")
        height, width = _fixed(shape[2]), _fixed(shape[3])
        if not (width and height) and size_if_free:
            width, height = size_if_free
        if not (width and height) or _fixed(shape[0]) not in (1, None):
            raise ValueError(f"{file}: the model must take pictures of a fixed size, one or any number, not {shape}")
        return cls(file, session, width, height, batched=_fixed(shape[0]) is None, digest=file_sha256(file))

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in the model's order."""
        return [output.name for output in self.session.get_outputs()]

    def run(self, pictures: NDArray[np.float32], outputs: list[str]) -> list[NDArray]:
        """The named outputs for pictures float32 [n, 3, height, width], n ≥ 1, each [n, ...].

        One call if the model takes batches, else one call per picture.
        """
        name = self.session.get_inputs()[0].name
        pieces = [pictures] if self.batched else np.split(pictures, len(pictures))
        results = [self.session.run(outputs, {name: np.ascontiguousarray(piece)}) for piece in pieces]
        return [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*results, strict=True)]


def _session(file: Path, provider: str, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = [provider] if provider == CPU else [provider, CPU]
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own errors have no common base but this
        raise ValueError(f"{file}: not a readable ONNX model ({error})") from None


def _fixed(side: int | str | None) -> int | None:
    """A side that the model fixes; None for one that it leaves open."""
    return side if isinstance(side, int) and side > 0 else None
