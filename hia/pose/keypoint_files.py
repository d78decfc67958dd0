"""Keypoint files of one person: an .npz beside a video, with keypoints, scores, width, height and fps."""

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hia.io.files import atomic_write
from hia.pose.keypoints import KeypointSequence

KEYS = ("keypoints", "scores", "width", "height", "fps")


def load_keypoints(path: str | Path) -> KeypointSequence:
    """Read a keypoint file (.npz with the arrays keypoints, scores, width, height, fps; others are ignored).

    Raises FileNotFoundError when there is no such file, and ValueError that names the file when it cannot be
    read, holds pickled objects, lacks an array or holds values that `KeypointSequence` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"keypoint file not found: {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"keypoint file {path} is empty (0 bytes): make it again")
    with path.open("rb") as file:
        return read_keypoints(file, f"keypoint file {path}")


def read_keypoints(file: BinaryIO, name: str) -> KeypointSequence:
    """Read an open keypoint file, see `load_keypoints`. name: of the file in messages."""
    arrays = _read_arrays(file, name)
    if missing := [key for key in KEYS if key not in arrays]:
        raise ValueError(f"{name} lacks {', '.join(missing)}; it must hold {', '.join(KEYS)}")
    try:
        width, height, fps = (_number(arrays[key], key) for key in ("width", "height", "fps"))
        return KeypointSequence(arrays["keypoints"], arrays["scores"], width, height, fps)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def save_keypoints(sequence: KeypointSequence, path: str | Path) -> None:
    """Write a keypoint file. It appears under its name complete or not at all; an older one is replaced.

    Raises FileNotFoundError when the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    with atomic_write(path) as aside, open(aside, "xb") as file:
        np.savez_compressed(file, allow_pickle=False, **{key: getattr(sequence, key) for key in KEYS})


def _read_arrays(file: BinaryIO, name: str) -> dict[str, NDArray]:
    """The arrays of `KEYS` that the file holds. Nothing is ever unpickled."""
    try:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            return {key: archive[key] for key in KEYS if key in archive}
    # The errors of numpy and zipfile for damaged bytes, pickled members and headers that claim impossible sizes.
    except (
        OSError,
        ValueError,
        EOFError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{name} cannot be read as .npz without pickled objects: {error}") from error


def _number(array: NDArray, name: str) -> float:
    if array.size != 1:
        raise ValueError(f"{name} must be one number, not an array of shape {list(array.shape)}")
    return array.item()
