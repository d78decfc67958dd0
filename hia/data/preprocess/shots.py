"""A first look at a video: size, timing, shots. It decides which frames become which candidate clips."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

from hia.config import PreprocessConfig
from hia.data.preprocess.filters import least_clip_frames
from hia.data.store.records import Rejected
from hia.images import Frame
from hia.video import iterate, nominal_rate, resample

# Where frames are this many seconds apart, or so many times their usual distance, nobody knows what happened between:
# damaged or joined files, whose stamps may jump by hours.
LONGEST_PAUSE = 1.0
LONGEST_PAUSE_FRAMES = 3
# Rates this much above `highest_fps` still count as it: 30.02 is 30, as timestamps round.
RATE_TOLERANCE = 0.1
# Short side of the pictures that are compared: content changes show at this size as well.
COMPARED_SIDE = 96
# The detector counts frames; this rate only turns them into the times it asks for.
RATE = 30.0


@dataclass(frozen=True)
class Survey:
    """A video's frames at a constant rate, and the segments of them that may become clips.

    Pauses of more than a second are left out, and are cuts.

    width, height: px, upright. num_frames: that decode, at `rate` per second. fps: constant rate of the clips; indices
    int [N]: the video's frame at each of its instants; segments: ranges of instants without a cut.
    """

    width: int
    height: int
    num_frames: int
    rate: float
    fps: float
    indices: NDArray[np.int64]
    segments: tuple[range, ...]

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
    closed_up, pauses = without_pauses(np.array(times), rate)
    indices = resample(closed_up, clip_fps)
    cuts = np.searchsorted(indices, [*shots.cuts(), *pauses]).tolist()
    least = least_clip_frames(clip_fps, settings)
    # A hair is added for products such as 2.3 · 30, which falls short of 69.
    longest = max(least, math.floor(settings.longest_seconds * clip_fps + 1e-6))
    return Survey(*size, len(times), rate, clip_fps, indices, tuple(divide_shots(len(indices), cuts, longest, least)))


class ShotDetector:
    """Finds cuts in frames that come one by one, by the change of hue, saturation and brightness (PySceneDetect).

    threshold: mean change of a pixel, 0–255, that is a cut. flash: pictures unlike their neighbours for at most so many
    frames, after which the old picture is back, are no cut: lightning, a camera's flash, a damaged frame. Every other
    cut is kept, however near to the last one: a shot contains no cut that was found, and the caller decides how short
    is too short. Dissolves and fades are not found. Holds flash + 2 small pictures, whatever the length of the video.
    """

    def __init__(self, threshold: float = 27.0, flash: int = 2) -> None:
        if threshold <= 0 or flash < 0:
            raise ValueError(f"threshold must be above 0 and flash at least 0, not {threshold} and {flash}")
        self._threshold = threshold
        self._detector = self._new_detector()
        self._recent: deque[Frame] = deque(maxlen=flash + 2)
        self._candidates: list[int] = []
        self._cuts: list[int] = []
        self._num_frames = 0

    def add(self, frame: Frame) -> None:
        """The next frame, RGB uint8 [H, W, 3]."""
        small = _small(frame)
        self._recent.append(small)
        if self._detector.process_frame(_time(self._num_frames), small):
            self._candidates.append(self._num_frames)
        self._num_frames += 1
        self._settle()

    def cuts(self) -> list[int]:
        """The frames added so far at which a new shot begins; the first shot's, 0, is not among them.

        A change within the last `flash` frames counts as a cut: what would come after it is not known.
        """
        return [*self._cuts, *self._candidates]

    def _settle(self) -> None:
        """Once the frames after a candidate are known, decide whether it is a cut or the beginning of a flash."""
        first = self._num_frames - len(self._recent)
        while self._candidates and self._candidates[0] - 1 == first and len(self._recent) == self._recent.maxlen:
            candidate = self._candidates.pop(0)
            back = self._back_after(candidate)
            if back is None:
                self._cuts.append(candidate)
            else:
                self._candidates = [other for other in self._candidates if other > back]

    def _back_after(self, candidate: int) -> int | None:
        """The first frame after a candidate that again shows what was before it; None when none does."""
        before, _, *after = self._recent
        for offset, picture in enumerate(after, start=1):
            if not self._differ(before, picture):
                return candidate + offset
        return None

    def _differ(self, before: Frame, after: Frame) -> bool:
        detector = self._new_detector()
        detector.process_frame(_time(0), before)
        return bool(detector.process_frame(_time(1), after))

    def _new_detector(self) -> ContentDetector:
        # Its own filter of short shots reports a flash as a cut, and hides cuts: it is off.
        return ContentDetector(threshold=self._threshold, min_scene_len=0)


def divide_shots(num_frames: int, cuts: Sequence[int], longest: int, least: int) -> list[range]:
    """The frames of each clip: shots, those longer than `longest` divided evenly.

    cuts: where shots begin, in 0..num_frames, in any order; some may be equal. Every frame is in one clip. Lengths in
    a shot differ by at most one. Clips of fewer than `least` frames are among them, for the caller to reject: those
    of shorter shots, or, where longest < 2 · least, of shots that cannot be divided better. Raises ValueError for
    cuts outside the video, and unless 1 ≤ least ≤ longest.
    """
    if not 1 <= least <= longest:
        raise ValueError(f"clips need 1 ≤ least ≤ longest, not {least} and {longest} frames")
    if any(not 0 <= cut <= num_frames for cut in cuts):
        raise ValueError(f"cuts must lie in 0..{num_frames}, not {list(cuts)}")
    clips = []
    for begin, end in pairwise(sorted({0, *cuts, num_frames})):
        parts = math.ceil((end - begin) / longest)
        places = [begin + (end - begin) * part // parts for part in range(parts + 1)]
        clips += [range(first, last) for first, last in pairwise(places)]
    return clips


def without_pauses(times: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], list[int]]:
    """Times [n] in s, with those after a pause moved up to a frame's distance; and the frames after the pauses."""
    steps = np.diff(times)
    paused = steps > max(LONGEST_PAUSE, LONGEST_PAUSE_FRAMES / rate)
    taken = np.cumsum(np.where(paused, steps - 1 / rate, 0.0))
    return times - np.concatenate([[0.0], taken]), (np.flatnonzero(paused) + 1).tolist()


def kept_rate(rate: float, highest: float) -> float:
    """The rate itself, or divided by the smallest whole number that brings it to at most `highest`."""
    return rate / max(1, math.ceil(rate / highest - RATE_TOLERANCE))


def _small(frame: Frame) -> Frame:
    """BGR, the short side at most `COMPARED_SIDE`."""
    height, width = frame.shape[:2]
    scale = min(COMPARED_SIDE / min(width, height), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(small[..., ::-1])


def _time(number: int) -> FrameTimecode:
    return FrameTimecode(number, RATE)
