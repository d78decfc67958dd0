"""Times of frames: rising times from the time stamps of a file, their rate, and resampling to a constant rate."""

import numpy as np
from numpy.typing import NDArray

# A stamp that lies further back than this, in s, starts a new count (joined files, broken recorders); less is jitter.
RESTART = 0.5


class Clock:
    """Turns the time stamps of successive frames into times that rise from 0.

    interval: s between frames, used when stamps are missing or start anew.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._origin: float | None = None
        self._last: float | None = None

    def time(self, stamp: float | None) -> float:
        """Seconds from the first frame to the next one, which has this time stamp (None: it has none)."""
        expected = 0.0 if self._last is None else self._last + self.interval
        if stamp is None:
            self._last = expected
            return expected
        if self._origin is None:
            self._origin = stamp - expected
        time = stamp - self._origin
        if self._last is not None and time <= self._last:
            if time < self._last - RESTART:
                self._origin, time = stamp - expected, expected
            else:
                time = self._last + self.interval / 1000
        self._last = time
        return time


def nominal_rate(times: NDArray[np.float64]) -> float:
    """Frames per second of a video from its frames' times, float64 [n], rising, in s.

    The mean of the intervals that are near the median: rounded stamps do not matter, nor do pauses and lost frames as
    long as most intervals are regular. Raises ValueError for fewer than two different times.
    """
    intervals = np.diff(np.asarray(times, np.float64))
    intervals = intervals[intervals > 0]
    if len(intervals) == 0:
        raise ValueError("a frame rate needs at least two frames at different times")
    usual = np.median(intervals)
    return float(1 / intervals[np.abs(intervals - usual) <= usual / 2].mean())


def resample(times: NDArray[np.float64], fps: float) -> NDArray[np.intp]:
    """Indices of the frames that a video of constant rate shows at each of its times.

    times float64 [n], rising, in s; fps: the constant rate.   → int [N], never falling: for every k / fps from the
    first time to the last, the frame nearest to it, the earlier one of two equally near. Raises ValueError for no
    times, times that fall, and an fps that is not positive.
    """
    times = np.asarray(times, np.float64)
    if len(times) == 0 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("resampling needs the times of at least one frame, and times that do not fall")
    if not 0 < fps < np.inf:
        raise ValueError(f"fps must be a positive number, not {fps}")
    # Rounding must move neither the last time beyond the grid, nor one of two equally near frames ahead of the other.
    tolerance = 1e-6 / fps
    grid = times[0] + np.arange(int((times[-1] - times[0] + tolerance) * fps) + 1) / fps
    later = np.searchsorted(times, grid).clip(0, len(times) - 1)
    earlier = (later - 1).clip(0)
    nearer = times[later] - grid < grid - times[earlier] - tolerance
    return np.where(nearer, later, earlier)
