"""Which frames of a clip become a sample: numbers only, nothing is read (paper sec. 3.3, A.4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hia.conditions.blur import REFERENCE_FPS
from hia.config import Stage
from hia.data.store.records import ClipInfo


@dataclass(frozen=True)
class Draw:
    """The frames of one sample.

    targets: F frame numbers of the clip; still: they are one frame repeated on purpose, in which nothing moves;
    reference: the reference's frame; mirrored: whether everything is.
    """

    clip: ClipInfo
    targets: tuple[int, ...]
    still: bool
    reference: int
    mirrored: bool

    @property
    def sample_id(self) -> str:
        """Clip, frames, reference and side, to find the sample again."""
        frames = f"{self.targets[0]}" if len(self.targets) == 1 else f"{self.targets[0]}–{self.targets[-1]}"
        step = f" by {self.targets[1] - self.targets[0]}" if len(self.targets) > 1 else ""
        return f"{self.clip.id} frame {frames}{step} from {self.reference}{' mirrored' if self.mirrored else ''}"


def stored_step(stride: int, fps: float) -> int:
    """Stored frames from one frame of a window to the next, for a stride that is meant at 30 fps: at least 1."""
    return max(1, math.floor(stride * fps / REFERENCE_FPS + 0.5))


def least_frames(stage: Stage, fps: float) -> int:
    """Stored frames that a clip must have for the stage's shortest window."""
    return (stage.frames - 1) * stored_step(stage.frame_stride[0], fps) + 1


def draw_targets(clip: ClipInfo, stage: Stage, generator: np.random.Generator) -> tuple[tuple[int, ...], bool]:
    """Frame numbers [F], and whether they are one frame repeated; the clip has `least_frames`.

    The stride is drawn from the stage's range and shortened where the clip is too short for it, then the first frame.
    """
    if stage.frames == 1:
        return (int(generator.integers(clip.num_frames)),), False
    if generator.random() < stage.static_clip_probability:
        return (int(generator.integers(clip.num_frames)),) * stage.frames, True
    shortest, longest = stage.frame_stride
    wanted = stored_step(int(generator.integers(shortest, longest + 1)), clip.fps)
    step = min(wanted, (clip.num_frames - 1) // (stage.frames - 1))
    first = int(generator.integers(clip.num_frames - (stage.frames - 1) * step))
    return tuple(range(first, first + stage.frames * step, step)), False


def draw_reference(
    targets: Sequence[int],
    num_frames: int,
    faces: NDArray[np.int64],
    distance: int,
    generator: np.random.Generator,
) -> int:
    """The reference's frame: one of `faces` if there are any, else any frame of the clip.

    For an image pair (one target) it lies at least `distance` frames from the target where such a frame exists, else
    as far as possible, and is another frame whenever the clip has another.
    """
    everywhere = np.arange(num_frames)
    if len(targets) > 1:
        return int(generator.choice(faces if len(faces) else everywhere))
    others = faces[faces != targets[0]]
    if not len(others):
        others = everywhere[everywhere != targets[0]]
    if not len(others):
        return targets[0]
    away = np.abs(others - targets[0])
    return int(generator.choice(others[away >= min(distance, away.max())]))
