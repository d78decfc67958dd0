"""Measures of one video beside the true one that need no network, by the name of the metric."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.typing import NDArray

from hia.evaluation import image, temporal
from hia.evaluation.regions import region_values, sharpness_agreement, sharpness_pairs
from hia.evaluation.scores import Features, Figure, Figures, MetricUnavailable, VideoPair, mean_figure

SHARPNESS = "hand_sharpness"

Measure = Callable[[VideoPair], Figures | Features]


def psnr(pair: VideoPair) -> Figures:
    """PSNR, and the share of frames that equal the truth, which have no PSNR of their own."""
    values = image.psnr(pair.real, pair.generated)
    return {"psnr": mean_figure(values), "identical_share": mean_figure(values == image.IDENTICAL_PSNR)}


def regions(pair: VideoPair) -> Figures:
    """L1, PSNR and SSIM within the face and the hands."""
    if pair.regions is None:
        raise MetricUnavailable("there are no keypoints and no boxes")
    values = region_values(pair.real, pair.generated, pair.regions)
    if not values:
        raise MetricUnavailable("neither a face nor a hand is seen")
    return {name: mean_figure(measured) for name, measured in values.items()}


def sharpness_features(pair: VideoPair) -> Features:
    """Raw sharpness of all hands, [K, 1] each, for agreement over all videos."""
    if pair.regions is None:
        raise MetricUnavailable("there are no keypoints and no boxes")
    made, true = sharpness_pairs(pair.real, pair.generated, pair.regions)
    if len(made) == 0:
        raise MetricUnavailable("no hand is seen")
    return Features(made[:, None], true[:, None])


def agreement_of(hands: Features) -> Figures:
    """Agreement of the sharpness of generated hands with that of the true ones."""
    figures = sharpness_agreement(hands.generated[:, 0], hands.real[:, 0])
    return {name: Figure(value, len(hands.real)) for name, value in figures.items()}


def _of_frames(name: str, measure: Callable[..., NDArray]) -> Measure:
    return lambda pair: {name: mean_figure(measure(pair.real, pair.generated))}


def _of_changes(measure: Callable[..., dict[str, float]]) -> Measure:
    def figures(pair: VideoPair) -> Figures:
        if len(pair) < 2:
            raise MetricUnavailable("one frame has no changes")
        values = measure(pair.real, pair.generated)
        return {name: Figure(value, len(pair) - 1) for name, value in values.items()}

    return figures


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {name: _of_frames(name, measure) for name, measure in image.MEASURES.items()}
    | {name: _of_changes(measure) for name, measure in temporal.MEASURES.items()}
    | {"psnr": psnr, "regions": regions, SHARPNESS: sharpness_features}
)
"""Code of all metrics of `hia.config.metrics` that have no network."""
