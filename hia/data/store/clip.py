"""One clip of the store, a safetensors file: writing it, and reading any frame or window of it in milliseconds."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hia.data.store.records import ClipInfo
from hia.images import Frame, decode_jpeg
from hia.pose.keypoints import KeypointSequence

FORMAT_VERSION = 1

REQUIRED = (
    *("jpeg", "offsets", "keypoints", "scores", "filled", "movement", "sharpness"),
    *("hand_boxes", "face_boxes", "five_points", "face_usable"),
)


def latents_name(width: int, height: int, mirrored: bool) -> str:
    """Name of the array with the latents of frames of width × height px."""
    return f"latents_{width}x{height}" + ("_mirrored" if mirrored else "")


def map_names(name: str) -> tuple[str, str]:
    """Names of the arrays of a map's JPEGs and of their offsets."""
    return f"map_{name}_jpeg", f"map_{name}_offsets"


def serialise_clip(clip_id: str, arrays: Mapping[str, NDArray]) -> bytes:
    """The content of a clip's file; equal arrays give equal bytes. arrays: see the properties of `Clip`."""
    # Only one entry, because safetensors writes several in no fixed order.
    metadata = {"hia-clip": json.dumps({"version": FORMAT_VERSION, "id": clip_id})}
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)


class Clip:
    """An open clip file of N frames. Arrays are read on demand; of frames and latents, only the requested ones.

    Raises FileNotFoundError; ValueError naming the file when it is damaged, of another version, or another clip.
    """

    def __init__(self, path: Path, info: ClipInfo) -> None:
        self.path, self.info = path, info
        self._offsets_of_maps: dict[str, list[int]] = {}
        try:
            self._file: Any = safe_open(path, framework="numpy").__enter__()
            self._check()
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: this file of the store is missing") from None
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path}: not a clip that can be used ({error})") from None

    def __len__(self) -> int:
        return self.info.num_frames

    def has(self, name: str) -> bool:
        """Check whether the clip has an array."""
        return name in self._names

    def array(self, name: str) -> NDArray:
        """A whole array by name. Raises ValueError when the clip does not have it."""
        self._require(name)
        return self._file.get_tensor(name)

    def rows(self, name: str, indices: Sequence[int]) -> NDArray:
        """Rows of an array in the order of `indices`; only these are read (duplicates and any order are allowed)."""
        self._require(name)
        rows = self._file.get_slice(name)
        return np.stack([rows[index : index + 1][0] for index in indices])

    def frame(self, index: int, reduction: int = 1) -> Frame:
        """Frame `index`, RGB uint8 [H/r, W/r, 3] for reduction r = 1, 2 or 4. Raises IndexError outside the clip."""
        return self._picture(self._jpeg, self._offsets, index, reduction)

    def map_frame(self, name: str, index: int, reduction: int = 1) -> Frame:
        """A map's picture (see `ClipInfo.maps`) of a frame, with size and errors as in `frame`."""
        jpeg, offsets = map_names(name)
        self._require(jpeg)
        return self._picture(self._file.get_slice(jpeg), self._map_offsets(offsets), index, reduction)

    def frames(self, indices: Sequence[int], reduction: int = 1) -> Frame:
        """Several frames, at least one, RGB uint8 [n, H/r, W/r, 3]."""
        first = self.frame(indices[0], reduction)
        frames = np.empty((len(indices), *first.shape), np.uint8)
        frames[0] = first
        for place, index in enumerate(indices[1:], 1):
            frames[place] = self.frame(index, reduction)
        return frames

    @cached_property
    def keypoints(self) -> KeypointSequence:
        """Keypoints and scores of all frames, in the clip's pixels."""
        info = self.info
        return KeypointSequence(self.array("keypoints"), self.array("scores"), info.width, info.height, info.fps)

    @cached_property
    def filled(self) -> NDArray[np.bool_]:
        """bool [N, 133]: keypoints interpolated over a short gap."""
        return self.array("filled")

    @cached_property
    def movement(self) -> NDArray[np.float32]:
        """float32 [N, 2 hands, 2], see `hand_movement`."""
        return self.array("movement")

    @cached_property
    def sharpness(self) -> NDArray[np.float32]:
        """Raw sharpness, float32 [N, 2 hands]; NaN where a hand has no box."""
        return self.array("sharpness")

    @cached_property
    def hand_boxes(self) -> NDArray[np.int32]:
        """int32 [N, 2 hands, 4]: left, top, right, bottom; −1 where there is none."""
        return self.array("hand_boxes")

    @cached_property
    def face_boxes(self) -> NDArray[np.int32]:
        """int32 [N, 4]: left, top, right, bottom; −1 where there is none."""
        return self.array("face_boxes")

    @cached_property
    def five_points(self) -> NDArray[np.float32]:
        """float32 [N, 5, 2] px, see `hia.conditions.regions.five_points`; NaN where there are none."""
        return self.array("five_points")

    @cached_property
    def face_usable(self) -> NDArray[np.bool_]:
        """bool [N]: True where the face can be compared, see `face_is_usable`."""
        return self.array("face_usable")

    @cached_property
    def face_frames(self) -> NDArray[np.int64]:
        """int64 [K]: indices of the frames with a face embedding; empty when none were computed."""
        return self.array("face_frames") if self.has("face_frames") else np.zeros(0, np.int64)

    @cached_property
    def face_embeddings(self) -> NDArray[np.float32]:
        """float32 [K, 2, D]: embeddings of `face_frames` and of the mirrored frames."""
        return self.array("face_embeddings")

    def image_token(self, index: int, mirrored: bool) -> NDArray[np.float16]:
        """float16 [D]: the image encoder's embedding of a frame or its mirror image."""
        return self.rows("image_tokens", [index])[0, int(mirrored)]

    def latents(self, indices: Sequence[int], width: int, height: int, mirrored: bool = False) -> NDArray[np.float16]:
        """Latents of frames at width × height px, float16 [n, C, h, w]."""
        return self.rows(latents_name(width, height, mirrored), indices)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self._file.keys())

    @cached_property
    def _offsets(self) -> list[int]:
        return self.array("offsets").tolist()

    def _map_offsets(self, name: str) -> list[int]:
        if name not in self._offsets_of_maps:
            self._offsets_of_maps[name] = self.array(name).tolist()
        return self._offsets_of_maps[name]

    def _picture(self, jpeg: Any, offsets: Sequence[int], index: int, reduction: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        first, end = offsets[index : index + 2]
        try:
            return decode_jpeg(jpeg[first:end], reduction)
        except ValueError as error:
            raise ValueError(f"{self.path}, frame {index}: {error}") from None

    @cached_property
    def _jpeg(self) -> Any:
        return self._file.get_slice("jpeg")

    def _require(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(
                f"{self.path}: the store was made without {name}; preprocess again with a preset that asks for it"
            )

    def _check(self) -> None:
        metadata = json.loads((self._file.metadata() or {}).get("hia-clip", "{}"))
        if metadata.get("version") != FORMAT_VERSION:
            raise ValueError(f"its version is {metadata.get('version')}, this program reads {FORMAT_VERSION}")
        if metadata.get("id") != self.info.id:
            raise ValueError(f"it is clip {metadata.get('id')}, not {self.info.id}")
        if missing := [name for name in REQUIRED if name not in self._names]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        frames = self._file.get_slice("keypoints").get_shape()[0]
        if frames != self.info.num_frames:
            raise ValueError(f"it has {frames} frames, the manifest says {self.info.num_frames}")
