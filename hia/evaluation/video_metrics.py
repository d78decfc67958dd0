"""What can be measured of one video beside the true one, by the name that is asked for."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from hia.evaluation.features import CLIP_LENGTH, ClipSampling, NetworkExtractor
from hia.evaluation.identity import Identity
from hia.evaluation.image import IDENTICAL_PSNR, MEASURES
from hia.evaluation.perceptual import PerceptualDistance
from hia.evaluation.regions import region_values, sharpness_agreement, sharpness_pairs
from hia.evaluation.scores import Features, Figure, Rows, VideoPair
from hia.evaluation.temporal import dtssd, flicker, warping_error

SHARPNESS = "hand_sharpness"

Network = PerceptualDistance | Identity | NetworkExtractor
Figures = dict[str, Figure]


class MetricUnavailable(Exception):
    """A metric that a video cannot have; the message says why."""


def perceptual(distance: PerceptualDistance, pair: VideoPair) -> Figures:
    """LPIPS, the mean over frames."""
    return {distance.key: _mean(distance(pair.real, pair.generated))}


def identity(cosine: Identity, pair: VideoPair, first_frame: int = 0) -> Figures:
    """The mean over frames with a usable face, and the share of such frames; those before the first do not count."""
    if pair.keypoints is None:
        raise MetricUnavailable("there are no keypoints")
    cosines = cosine(pair.real, pair.generated, pair.keypoints, first_frame)
    if len(cosines) == 0:
        raise MetricUnavailable("no face is large enough and seen from the front")
    counted = len(pair) - first_frame
    return {cosine.key: _mean(cosines), "usable_faces": Figure(len(cosines) / counted, counted)}


def distance_features(
    extractor: NetworkExtractor, pair: VideoPair, cutting: ClipSampling, true: Rows | None = None
) -> Features:
    """Rows of both videos, for a Fréchet distance over all videos. true: those of the true one, if they are known.

    Raises ValueError when these are not as many as the generated video has.
    """
    made = extractor(pair.generated, cutting, "the generated video")
    if len(made) == 0:
        raise MetricUnavailable(f"{len(pair)} frames are less than a clip of {CLIP_LENGTH}")
    if true is None:
        true = extractor(pair.real, cutting, "the true video")
    if true.shape != made.shape:
        raise ValueError(
            f"known {extractor.key} features of the true video are {list(true.shape)}, those of the generated one "
            f"{list(made.shape)}: they are of another video, or were cut otherwise"
        )
    return Features(made, true)


def sharpness_features(pair: VideoPair) -> Features:
    """Raw sharpness of all hands, [K, 1] each, for agreement over all videos."""
    if pair.regions is None:
        raise MetricUnavailable("there are no keypoints and no boxes")
    made, true = sharpness_pairs(pair.real, pair.generated, pair.regions)
    if len(made) == 0:
        raise MetricUnavailable("no hand is seen")
    return Features(made[:, None], true[:, None])


def agreement_of(hands: Features) -> Figures:
    """How the sharpness of generated hands follows that of the true ones."""
    figures = sharpness_agreement(hands.generated[:, 0], hands.real[:, 0])
    return {name: Figure(value, len(hands.real)) for name, value in figures.items()}


def _mean(values: NDArray[Any]) -> Figure:
    return Figure(float(values.mean()), len(values))


def _of_frames(name: str) -> Callable[[VideoPair], Figures]:
    return lambda pair: {name: _mean(MEASURES[name](pair.real, pair.generated))}


def _psnr(pair: VideoPair) -> Figures:
    values = MEASURES["psnr"](pair.real, pair.generated)
    return {"psnr": _mean(values), "identical_share": _mean(values == IDENTICAL_PSNR)}


def _regions(pair: VideoPair) -> Figures:
    if pair.regions is None:
        raise MetricUnavailable("there are no keypoints and no boxes")
    values = region_values(pair.real, pair.generated, pair.regions)
    if not values:
        raise MetricUnavailable("neither a face nor a hand is seen")
    return {name: _mean(found) for name, found in values.items()}


def _of_changes(measure: Callable[[VideoPair], dict[str, float]]) -> Callable[[VideoPair], Figures]:
    def measured(pair: VideoPair) -> Figures:
        if len(pair) < 2:
            raise MetricUnavailable("one frame has no changes")
        return {name: Figure(value, len(pair) - 1) for name, value in measure(pair).items()}

    return measured


def _flicker(pair: VideoPair) -> dict[str, float]:
    made, true = flicker(pair.generated), flicker(pair.real)
    return {"flicker": made, "flicker_difference": made - true}


def _warping(pair: VideoPair) -> dict[str, float]:
    made, true = warping_error(pair.real, pair.generated)
    return {"warping_error": made, "warping_error_real": true}


WITHOUT_NETWORK: Mapping[str, Callable[[VideoPair], Figures]] = MappingProxyType(
    {name: _of_frames(name) for name in MEASURES}
    | {
        "psnr": _psnr,
        "regions": _regions,
        "dtssd": _of_changes(lambda pair: {"dtssd": dtssd(pair.real, pair.generated)}),
        "flicker": _of_changes(_flicker),
        "warping_error": _of_changes(_warping),
    }
)
"""By name, all that needs neither a network nor more than one video."""
