"""How far a figure may be off by the choice of videos: intervals from drawing the videos anew, with replacement.

Videos are drawn, not frames: the frames of one video resemble each other, and would make any interval too small.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    videos: int,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[float, float] | None:
    """Percentile interval of a statistic of videos, which are given by their numbers, some of them repeatedly.

    None for fewer than 2 videos, where nothing can be said. Raises ValueError for resamples below 1 and a confidence
    outside (0, 1).
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"an interval needs at least 1 resample and a confidence in (0, 1), not {resamples} and {confidence}"
        )
    if videos < 2:
        return None
    drawn = np.random.default_rng(seed).integers(0, videos, (resamples, videos))
    values = [statistic(numbers) for numbers in drawn]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail]).tolist()
    return low, high


def weighted_mean(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Σ w·v / Σ w, e.g. of videos' means over their frames: the mean over all frames."""
    return float(np.average(values, weights=weights))
