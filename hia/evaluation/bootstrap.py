"""How far a figure may be off by the choice of videos: intervals from drawing the videos anew, with replacement.

Videos are drawn, not frames: the frames of one video resemble each other, and would make any interval too small.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


Numbers = NDArray[np.intp]
Interval = tuple[float, float] | None


def bootstrap(
    statistic: Callable[[Numbers], float],
    videos: int,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of a statistic of videos, which are given by their numbers, some of them repeatedly.

    None for fewer than 2 videos, where nothing can be said. Raises ValueError for resamples below 1 and a confidence
    outside (0, 1).
    """
    return bootstrap_all(lambda numbers: {"": statistic(numbers)}, videos, resamples, seed, confidence).get("")


def bootstrap_all(
    statistics: Callable[[Numbers], Mapping[str, float]],
    videos: int,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> dict[str, tuple[float, float]]:
    """Intervals by name of several statistics of the same draws; some may be absent from some draws, which then do not
    count. Empty for fewer than 2 videos. Otherwise as `bootstrap`.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"an interval needs at least 1 resample and a confidence in (0, 1), not {resamples} and {confidence}"
        )
    if videos < 2:
        return {}
    values: dict[str, list[float]] = {}
    for numbers in np.random.default_rng(seed).integers(0, videos, (resamples, videos)):
        for name, value in statistics(numbers).items():
            values.setdefault(name, []).append(value)
    tail = 50 * (1 - confidence)
    ends = {name: np.percentile(found, [tail, 100 - tail]).tolist() for name, found in values.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}


def weighted_mean(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Σ w·v / Σ w, e.g. of videos' means over their frames: the mean over all frames."""
    return float(np.average(values, weights=weights))
