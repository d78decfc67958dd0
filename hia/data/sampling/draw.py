"""Random draws of a sample's frames: target window and reference, as frame numbers (paper sec. 3.3, A.4)."""

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

    targets: F frame numbers of the clip. still: they are one frame repeated on purpose, so that nothing moves.
    reference: frame number of the reference. mirrored: targets and reference are flipped left to right.
    """

    clip: ClipInfo
    targets: tuple[int, ...]
    still: bool
    reference: int
    mirrored: bool

    @property
    def sample_id(self) -> str:
        """A readable identifier: clip, frames, reference and flip."""
        frames = f"{self.targets[0]}" if len(self.targets) == 1 else f"{self.targets[0]}–{self.targets[-1]}"
        step = f" by {self.targets[1] - self.targets[0]}" if len(self.targets) > 1 else ""
        return f"{self.clip.id} frame {frames}{step} from {self.reference}{' mirrored' if self.mirrored else ''}"


def stored_step(stride: int, fps: float) -> int:
    """Step in stored frames from one frame of a window to the next, at least 1. stride: the step at 30 fps."""
    return max(1, math.floor(stride * fps / REFERENCE_FPS + 0.5))


def least_frames(stage: Stage, fps: float) -> int:
    """Least number of stored frames that a clip needs for the stage's shortest window."""
    return (stage.frames - 1) * stored_step(stage.frame_stride[0], fps) + 1


def draw_targets(clip: ClipInfo, stage: Stage, generator: np.random.Generator) -> tuple[tuple[int, ...], bool]:
    """Frame numbers [F], and True if they are one frame repeated. The clip must have at least `least_frames`.

    First the stride is drawn from the stage's range, and reduced where the clip is too short for it; then the first
    frame is drawn.
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
    """The frame number of the reference: one of `faces` if there are any, else any frame of the clip.

    For an image pair (one target) it is at least `distance` frames from the target if such a frame exists, else as far
    away as possible, and never the target itself if the clip has another frame.
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
