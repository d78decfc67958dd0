"""The numbers that the page shows: per hand and frame, per clip, and over the store."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.data.clip import Clip
from hia.data.records import ClipInfo
from hia.data.statistics import hand_speed
from hia.data.store import ClipStore


class HandMeasures(NamedTuple):
    """Raw sharpness and speed of hands, float32 [n] and [m], where they are known, and of how many clips they are."""

    sharpness: NDArray[np.float32]
    speed: NDArray[np.float32]
    num_clips: int


def speed_of_hands(clip: Clip) -> NDArray[np.float32]:
    """Length of the movement |v| of each hand, float32 [N, 2 hands]; NaN where a hand has no box or v is not known.

    1 is a quarter of the frame in 1/30 s, see `hia.conditions.blur.hand_movement`.
    """
    known = hand_speed(clip.movement, clip.array("scores"))
    return np.where(np.isnan(clip.sharpness), np.float32(np.nan), known)


def hand_measures(clips: Iterable[Clip]) -> HandMeasures:
    """All measured hands of some clips."""
    pairs = [(clip.sharpness.ravel(), speed_of_hands(clip).ravel()) for clip in clips]
    nothing = np.zeros(0, np.float32)
    sharpness, speed = (np.concatenate([nothing, *(pair[which] for pair in pairs)]) for which in (0, 1))
    return HandMeasures(sharpness[~np.isnan(sharpness)], speed[~np.isnan(speed)], len(pairs))


def padding_share(info: ClipInfo) -> float:
    """Share of a clip's frames that is padding, in [0, 1]."""
    left, top, right, bottom = info.content
    return 1 - (right - left) * (bottom - top) / (info.width * info.height)


def totals(clips: Sequence[ClipInfo]) -> dict[str, Any]:
    """Videos, clips, frames and hours, as in a store's statistics."""
    return {
        "videos": len({info.video for info in clips}),
        "clips": len(clips),
        "frames": sum(info.num_frames for info in clips),
        "hours": sum(info.seconds for info in clips) / 3600,
    }


def totals_by_split(store: ClipStore) -> dict[str, dict[str, Any]]:
    """Totals of `train`, `test` and `all`, from the clips that the manifest lists."""
    splits = {split: totals(store.of_split(split)) for split in ("train", "test")}
    return splits | {"all": totals(store.clips)}
