"""A first look at a video: size, timing, shots. It decides which frames become which candidate clips."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hia.data.plan import least_frames
from hia.data.records import Rejected
from hia.data.settings import PreprocessConfig
from hia.data.shots import ShotDetector, stretches
from hia.video import iterate, nominal_rate, resample

# Where frames are this many seconds apart, or so many times their usual distance, nobody knows what happened between:
# damaged or joined files, whose stamps may jump by hours.
LONGEST_PAUSE = 1.0
LONGEST_PAUSE_FRAMES = 3

# Rates this much above `highest_fps` still count as it: 30.02 is 30, as timestamps round.
RATE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Survey:
    """A video's frames at a constant rate, and the stretches of them that may become clips.

    Pauses of more than a second are left out, and are cuts.

    width, height: px, upright. num_frames: that decode, at `rate` per second. fps: constant rate of the clips; indices
    int [N]: the video's frame at each of its instants; stretches: ranges of instants without a cut.
    """

    width: int
    height: int
    num_frames: int
    rate: float
    fps: float
    indices: NDArray[np.int64]
    stretches: tuple[range, ...]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.indices) / self.fps


def survey_video(path: Path, settings: PreprocessConfig, fps: float | None = None) -> Survey:
    """Decode a video once, keeping nothing of it but times and cuts.

    fps: the rate of a folder of frames. Raises Rejected when it has one frame only, or its rate is too low, and
    VideoError when it does not decode to its end.
    """
    shots, times, size = ShotDetector(settings.shot_threshold), [], (0, 0)
    for frame in iterate(path, fps):
        shots.add(frame.image)
        times.append(frame.time)
        size = frame.image.shape[1], frame.image.shape[0]
    if len(times) < 2:
        raise Rejected("too_short", "there is only one frame in it")
    rate = nominal_rate(np.array(times))
    if rate < settings.lowest_fps:
        raise Rejected(
            "frame_rate_too_low", f"{rate:.3g} frames per second, at least {settings.lowest_fps:g} are needed"
        )
    clip_fps = settings.fps or kept_rate(rate, settings.highest_fps)
    shown, pauses = without_pauses(np.array(times), rate)
    indices = resample(shown, clip_fps)
    cuts = np.searchsorted(indices, [*shots.cuts(), *pauses]).tolist()
    least = least_frames(clip_fps, settings)
    # A hair is added for products such as 2.3 · 30, which falls short of 69.
    longest = max(least, math.floor(settings.longest_seconds * clip_fps + 1e-6))
    return Survey(*size, len(times), rate, clip_fps, indices, tuple(stretches(len(indices), cuts, longest, least)))


def without_pauses(times: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], list[int]]:
    """Times [n] in s, with those after a pause moved up to a frame's distance; and the frames after the pauses."""
    steps = np.diff(times)
    paused = steps > max(LONGEST_PAUSE, LONGEST_PAUSE_FRAMES / rate)
    taken = np.cumsum(np.where(paused, steps - 1 / rate, 0.0))
    return times - np.concatenate([[0.0], taken]), (np.flatnonzero(paused) + 1).tolist()


def kept_rate(rate: float, highest: float) -> float:
    """The rate itself, or divided by the smallest whole number that brings it to at most `highest`."""
    return rate / max(1, math.ceil(rate / highest - RATE_TOLERANCE))
