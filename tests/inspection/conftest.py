"""Clips and stores for inspection."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hia.data.store.clip import Clip, serialise_clip
from hia.data.store.clip_store import ClipStore, open_store
from tests.data.tiny_store import TinyClip, sample_clips, write_store

Altered = Callable[..., Clip]


@pytest.fixture(scope="session")
def clips(sample_data: Path) -> list[TinyClip]:
    """20 frames each of two real clips at 64×112 px; the second is of the test split."""
    return sample_clips(sample_data, names=("gesture_man_kitchen", "juggle_man_park"), longest=20)


@pytest.fixture(scope="session")
def store(clips: list[TinyClip], tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """A store of `clips`."""
    return open_store(write_store(tmp_path_factory.mktemp("inspected") / "store", clips))


@pytest.fixture
def altered(store: ClipStore, tmp_path: Path) -> Altered:
    """The store's first clip with other arrays or another entry: `altered(name=array, …, info={key: value})`.

    An array is given as a function of the old one.
    """

    def alter(info: dict[str, Any] | None = None, **changes: Callable[[np.ndarray], np.ndarray]) -> Clip:
        clip = store.read(store.clips[0])
        names = ("jpeg", "offsets", "keypoints", "scores", "filled", "movement", "sharpness")
        names += ("hand_boxes", "face_boxes", "five_points", "face_usable")
        arrays = {name: clip.array(name).copy() for name in names}
        arrays |= {name: change(arrays[name]) for name, change in changes.items()}
        path = tmp_path / "altered.safetensors"
        path.write_bytes(serialise_clip(clip.info.id, arrays))
        return Clip(path, replace(clip.info, **info or {}))

    return alter
