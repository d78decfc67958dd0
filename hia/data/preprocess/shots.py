"""Shot detection and timing: a first pass over a video, which divides its frames into segments (candidate clips)."""

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

# A pause: frames that are more than this many seconds apart, or this many times their usual distance. It is treated as
# a cut; damaged or joined files have timestamps that jump by hours.
LONGEST_PAUSE = 1.0
LONGEST_PAUSE_FRAMES = 3
# Rates may exceed `highest_fps` by this share: 30.02 counts as 30, because timestamps are rounded.
RATE_TOLERANCE = 0.1
# Short side in pixels of the pictures that are compared: cuts are visible at this size as well.
COMPARED_SIDE = 96
# Frames are passed to the detector by number; this rate only converts numbers to the times that its interface needs.
RATE = 30.0


@dataclass(frozen=True)
class Survey:
    """A video's timing and shots: its frames at a constant rate, and the segments of them that may become clips.

    Pauses of more than a second are left out, and count as cuts.

    width, height: px, upright. num_frames: decodable frames, at `rate` per second. fps: constant rate of the clips.
    indices: int [N], the video's frame at each instant (a multiple of 1 / fps). segments: ranges of instants that
    contain no cut.
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
    """Decode a video once, keeping only times and cuts.

    fps: the rate of a folder of frames. Raises Rejected when the video has only one frame or its rate is too low, and
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
    # A small number is added because of products such as 2.3 · 30, which is slightly less than 69.
    longest = max(least, math.floor(settings.longest_seconds * clip_fps + 1e-6))
    return Survey(*size, len(times), rate, clip_fps, indices, tuple(divide_shots(len(indices), cuts, longest, least)))


class ShotDetector:
    """A detector of cuts in a stream of frames, by changes of hue, saturation and brightness (PySceneDetect).

    threshold: mean change per pixel, 0–255, that counts as a cut. flash: a different picture of at most this many
    frames, after which the old picture is back, is not a cut: lightning, a camera's flash, a damaged frame. Every other
    cut is kept, however close to the previous one; the caller rejects shots that are too short. Dissolves and fades are
    not found. Holds flash + 2 small pictures, whatever the length of the video.
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
        """Add the next frame, RGB uint8 [H, W, 3]."""
        small = _small(frame)
        self._recent.append(small)
        if self._detector.process_frame(_time(self._num_frames), small):
            self._candidates.append(self._num_frames)
        self._num_frames += 1
        self._settle()

    def cuts(self) -> list[int]:
        """Indices of the added frames at which a new shot begins, without 0, the beginning of the first shot.

        A change within the last `flash` frames counts as a cut, because the frames after it are not known.
        """
        return [*self._cuts, *self._candidates]

    def _settle(self) -> None:
        """Decide whether candidates are cuts or beginnings of flashes, once the frames after them are known."""
        first = self._num_frames - len(self._recent)
        while self._candidates and self._candidates[0] - 1 == first and len(self._recent) == self._recent.maxlen:
            candidate = self._candidates.pop(0)
            back = self._back_after(candidate)
            if back is None:
                self._cuts.append(candidate)
            else:
                self._candidates = [other for other in self._candidates if other > back]

    def _back_after(self, candidate: int) -> int | None:
        """The first frame after a candidate that shows the picture before it again; None when none does."""
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
        # PySceneDetect's own filter of short shots is off: it reports a flash as a cut, and hides cuts.
        return ContentDetector(threshold=self._threshold, min_scene_len=0)


def divide_shots(num_frames: int, cuts: Sequence[int], longest: int, least: int) -> list[range]:
    """Segments of a video: its shots, those longer than `longest` divided evenly.

    cuts: indices at which shots begin, in 0..num_frames, in any order; some may be equal. Every frame is in exactly one
    segment. Lengths within a shot differ by at most one. The result includes segments of fewer than `least` frames, for
    the caller to reject: shorter shots, or, where longest < 2 · least, shots that cannot be divided better. Raises
    ValueError for cuts outside the video, and unless 1 ≤ least ≤ longest.
    """
    if not 1 <= least <= longest:
        raise ValueError(f"clips need 1 ≤ least ≤ longest, not {least} and {longest} frames")
    if any(not 0 <= cut <= num_frames for cut in cuts):
        raise ValueError(f"cuts must lie in 0..{num_frames}, not {list(cuts)}")
    segments = []
    for begin, end in pairwise(sorted({0, *cuts, num_frames})):
        parts = math.ceil((end - begin) / longest)
        places = [begin + (end - begin) * part // parts for part in range(parts + 1)]
        segments += [range(first, last) for first, last in pairwise(places)]
    return segments


def without_pauses(times: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], list[int]]:
    """Times [n] in s with each pause shortened to one frame's distance, and the indices of the frames after pauses."""
    steps = np.diff(times)
    paused = steps > max(LONGEST_PAUSE, LONGEST_PAUSE_FRAMES / rate)
    taken = np.cumsum(np.where(paused, steps - 1 / rate, 0.0))
    return times - np.concatenate([[0.0], taken]), (np.flatnonzero(paused) + 1).tolist()


def kept_rate(rate: float, highest: float) -> float:
    """The rate divided by the smallest whole number that brings it to at most `highest`."""
    return rate / max(1, math.ceil(rate / highest - RATE_TOLERANCE))


def _small(frame: Frame) -> Frame:
    """The frame as BGR, with a short side of at most `COMPARED_SIDE` px."""
    height, width = frame.shape[:2]
    scale = min(COMPARED_SIDE / min(width, height), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(small[..., ::-1])


def _time(number: int) -> FrameTimecode:
    return FrameTimecode(number, RATE)
