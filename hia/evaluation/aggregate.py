"""Aggregation of the scores of videos: means over all frames, distances, and bootstrap intervals.

The bootstrap draws videos, not frames: the frames of one video resemble each other, and would make any interval too
small.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hia.evaluation.frechet import FewSamples, frechet_distance, kernel_distance
from hia.evaluation.regions import sharpness_agreement
from hia.evaluation.scores import Features, VideoScores
from hia.evaluation.video_metrics import SHARPNESS

CONFIDENCE = 0.95
Numbers = NDArray[np.intp]
Interval = tuple[float, float] | None
FID, KID = "fid", "kid"


@dataclass(frozen=True)
class Aggregate:
    """A figure over `videos` videos and `count` values of them (frames, boxes, rows of features).

    low, high: its bootstrap interval over videos, None where there is none. spread: standard deviation of the videos'
    own figures. dimension: length of the features of a distance, which is biased upwards (`rank_deficient`) when either
    side has no more rows than that.
    """

    value: float
    videos: int
    count: int
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    dimension: int | None = None
    rank_deficient: bool = False


@dataclass(frozen=True)
class Summary:
    """Figures by name, and reasons for metrics that are absent."""

    figures: Mapping[str, Aggregate]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Resampling:
    """Settings of bootstrap intervals. Distances have a number of draws of their own, as each is costly.

    0 draws: no interval. The interval of a distance lies too high: videos drawn twice leave fewer different ones.
    """

    draws: int = 1000
    distance_draws: int = 0
    seed: int = 0
    confidence: float = CONFIDENCE


def summarise(scores: Sequence[VideoScores], resampling: Resampling = Resampling()) -> Summary:
    """Means over all frames of all videos (as in DisCo), Fréchet distances of all features, and their intervals.

    A figure that some videos lack is computed over the others, as its number of videos shows; a distance is left out
    then. The order of the videos has no effect. Raises ValueError for no videos, and for two of one name.
    """
    scores = sorted(scores, key=lambda one: one.name)
    names = [one.name for one in scores]
    if not scores:
        raise ValueError("there are no videos to summarise")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"videos were scored more than once: {', '.join(repeated)}")
    left_out = _left_out(scores)
    pooled_names = {name for one in scores for name in _agreement_names(one)}
    figure_names = dict.fromkeys(name for one in scores for name in one.figures if name not in pooled_names)
    figures: dict[str, Aggregate] = {}
    for name in figure_names:
        figures |= _mean(name, scores, resampling)
    for key in dict.fromkeys(key for one in scores for key in one.features):
        if key == SHARPNESS:
            figures |= _agreement(scores, resampling)
        elif key not in left_out:
            try:
                figures |= _distances(key, scores, resampling)
            except ValueError as error:
                left_out[key] = str(error)
    return Summary(figures, left_out)


def _left_out(scores: Sequence[VideoScores]) -> dict[str, str]:
    reasons: dict[str, list[str]] = {}
    for one in scores:
        for key, reason in one.left_out.items():
            reasons.setdefault(key, []).append(f"{one.name}: {reason}")
    return {
        key: f"{len(texts)} of {len(scores)} videos cannot have it ({'; '.join(texts[:3])}{'; …' if texts[3:] else ''})"
        for key, texts in reasons.items()
    }


def _mean(name: str, scores: Sequence[VideoScores], resampling: Resampling) -> dict[str, Aggregate]:
    figures = [one.figures[name] for one in scores if name in one.figures]
    values = np.array([figure.value for figure in figures])
    counts = np.array([figure.count for figure in figures])

    def pooled(numbers: Numbers) -> dict[str, float]:
        return {name: weighted_mean(values[numbers], counts[numbers])}

    value = pooled(np.arange(len(figures)))[name]
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    figure = Aggregate(value, len(figures), int(counts.sum()), spread=spread)
    return _with_intervals({name: figure}, pooled, resampling, resampling.draws)


def _agreement(scores: Sequence[VideoScores], resampling: Resampling) -> dict[str, Aggregate]:
    """Agreement over the hands of all videos together: correlations cannot be averaged."""
    pairs = [one.features[SHARPNESS] for one in scores if SHARPNESS in one.features]

    def of(numbers: Numbers) -> dict[str, float]:
        made, true = _joined(pairs, numbers)
        return sharpness_agreement(made[:, 0], true[:, 0])

    everything = np.arange(len(pairs))
    hands = sum(len(pair.real) for pair in pairs)
    figures = {name: Aggregate(value, len(pairs), hands) for name, value in of(everything).items()}
    return _with_intervals(figures, of, resampling, resampling.draws)


def _distances(key: str, scores: Sequence[VideoScores], resampling: Resampling) -> dict[str, Aggregate]:
    rows = [one.features[key] for one in scores]
    measures: dict[str, Callable[..., float]] = {key: frechet_distance} | ({KID: kernel_distance} if key == FID else {})

    def of(numbers: Numbers) -> dict[str, float]:
        with warnings.catch_warnings():
            # One warning for all videos is enough.
            warnings.simplefilter("ignore", FewSamples)
            return {name: measure(*_joined(rows, numbers)) for name, measure in measures.items()}

    made, true = _joined(rows, np.arange(len(rows)))
    fewest, dimension = min(len(made), len(true)), made.shape[1]
    figures = {
        name: Aggregate(measure(made, true), len(rows), fewest, dimension=dimension, rank_deficient=fewest <= dimension)
        for name, measure in measures.items()
    }
    return _with_intervals(figures, of, resampling, resampling.distance_draws)


def _with_intervals(
    figures: dict[str, Aggregate], statistics: Callable[[Numbers], dict[str, float]], resampling: Resampling, draws: int
) -> dict[str, Aggregate]:
    if draws == 0 or not figures:
        return figures
    videos = next(iter(figures.values())).videos
    drawn = bootstrap_all(statistics, videos, draws, resampling.seed, resampling.confidence)
    intervals = {name: drawn.get(name, (None, None)) for name in figures}
    return {name: replace(figure, low=intervals[name][0], high=intervals[name][1]) for name, figure in figures.items()}


def _joined(parts: Sequence[Features], numbers: Numbers) -> Features:
    chosen = [parts[number] for number in numbers]
    return Features(*(np.concatenate(side) for side in zip(*chosen, strict=True)))


def _agreement_names(scores: VideoScores) -> list[str]:
    return [name for name in scores.figures if name.startswith(f"{SHARPNESS}_")]


def bootstrap(
    statistic: Callable[[Numbers], float],
    videos: int,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of a statistic of videos; it is called with their numbers, some of them repeated.

    None for fewer than 2 videos, which have no interval. Raises ValueError for resamples below 1 and a confidence
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
    """Intervals by name of several statistics of the same draws; otherwise as `bootstrap`.

    A statistic may be absent from some draws, which then do not count for it. Empty for fewer than 2 videos.
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
    ends = {name: np.percentile(drawn, [tail, 100 - tail]).tolist() for name, drawn in values.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}


def weighted_mean(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Σ w·v / Σ w, e.g. of videos' means over their frames: the mean over all frames."""
    return float(np.average(values, weights=weights))
