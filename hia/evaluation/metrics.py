"""All metrics behind one function: `load_metrics(...)` once per process, `.score(pair)` per video, then `summarise`.

Names of metrics that can be asked for: those of METRICS. What is not asked for by name is taken if it can be: a network
whose weights are missing is left out, with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from hia.evaluation import video_metrics
from hia.evaluation.features import ClipSampling, Distance, NetworkExtractor, load_extractor
from hia.evaluation.identity import Identity, load_identity
from hia.evaluation.perceptual import Perceptual, PerceptualDistance, load_perceptual
from hia.evaluation.scores import Features, Rows, VideoPair, VideoScores
from hia.evaluation.video_metrics import SHARPNESS, WITHOUT_NETWORK, Figures, MetricUnavailable, Network
from hia.evaluation.weights import UnknownWeights
from hia.weights import MissingWeights

IDENTITY = "csim"
PERCEPTUAL: tuple[Perceptual, ...] = get_args(Perceptual)
DISTANCES: tuple[Distance, ...] = get_args(Distance)
WITH_NETWORK = (*PERCEPTUAL, IDENTITY, *DISTANCES)
METRICS: tuple[str, ...] = (*WITHOUT_NETWORK, SHARPNESS, *WITH_NETWORK)
"""All that can be asked for by name. `regions` gives face and hands, each with L1, PSNR and SSIM."""
# The third graph of I3D is there for comparisons with published numbers: at 16 frames it is DisCo's.
USUAL = tuple(name for name in METRICS if name != "fvd_tensorflow")


@dataclass(frozen=True)
class MetricSettings:
    """What numbers depend on besides the videos; part of every result.

    first_frame: frames before it are left out of all metrics (1: the one that shows the reference itself).
    """

    cutting: ClipSampling = field(default_factory=ClipSampling)
    first_frame: int = 0

    def __post_init__(self) -> None:
        if self.first_frame < 0:
            raise ValueError(f"the first frame must be 0 or more, not {self.first_frame}")


@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics ready to be measured. networks: by the name asked for; skipped: why others are not there."""

    names: tuple[str, ...]
    networks: Mapping[str, Network] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    measuring: MetricSettings = MetricSettings()

    def score(self, pair: VideoPair, true_features: Mapping[str, Rows] = MappingProxyType({})) -> VideoScores:
        """Measure one video. Raises ValueError, with its name, e.g. for features that are not finite.

        true_features: rows of the true video by key, as earlier scores of it have them (`features[key].real`), so that
        they need not be worked out again for every model.
        """
        counted = pair.from_frame(self.measuring.first_frame)
        figures: Figures = {}
        features: dict[str, Features] = {}
        left_out: dict[str, str] = {}
        for name in self.names:
            try:
                found = self._measured(name, pair, counted, true_features)
            except MetricUnavailable as reason:
                left_out[self.key(name)] = str(reason)
            except ValueError as error:
                raise ValueError(f"video {pair.name}: {error}") from error
            else:
                if isinstance(found, Features):
                    features[self.key(name)] = found
                    figures |= video_metrics.agreement_of(found) if name == SHARPNESS else {}
                else:
                    figures |= found
        return VideoScores(pair.name, len(counted), figures, features, left_out)

    def key(self, name: str) -> str:
        """The name under which results of a metric go, which says so when its weights are not the official ones."""
        return self.networks[name].key if name in self.networks else name

    def provenance(self) -> dict[str, Any]:
        """For the record, in plain values: how it was measured, with which weights, and what was skipped."""
        networks = {network.key: asdict(network.provenance) for network in self.networks.values()}
        return {"measuring": asdict(self.measuring), "networks": networks, "skipped": dict(self.skipped)}

    def _measured(
        self, name: str, whole: VideoPair, counted: VideoPair, true_features: Mapping[str, Rows]
    ) -> Figures | Features:
        network = self.networks.get(name)
        if isinstance(network, NetworkExtractor):
            known = true_features.get(network.key)
            return video_metrics.distance_features(network, counted, self.measuring.cutting, known)
        if isinstance(network, PerceptualDistance):
            return video_metrics.perceptual(network, counted)
        if isinstance(network, Identity):
            # The reference's own face is that of the first frame, even if this frame does not count.
            return video_metrics.identity(network, whole, self.measuring.first_frame)
        return video_metrics.sharpness_features(counted) if name == SHARPNESS else WITHOUT_NETWORK[name](counted)


def load_metrics(
    names: Sequence[str] | None = None,
    weights: Mapping[str, str | Path] = MappingProxyType({}),
    measuring: MetricSettings = MetricSettings(),
    device: str = "cpu",
    download: bool = False,
    usual: Sequence[str] = USUAL,
) -> Metrics:
    """Metrics by name, or (None) the `usual` ones of which the weights can be found; networks go to `device`.

    weights: files to use instead of the official ones, by metric, which are then measured, too (`csim` takes
    `mobilefacenet`). Results with others than official weights are named after the network: `fd[i3d]`,
    `distance[lpips_vgg]`, `cosine[mobilefacenet]`. download: fetch official weights that are nowhere.

    Raises ValueError for unknown names, MissingWeights for metrics asked for by name, UnknownWeights when the file for
    such a one has other weights, AlteredWeights for damaged official files.
    """
    _check_names(names or usual, METRICS)
    _check_names(weights, WITH_NETWORK)
    asked = tuple(dict.fromkeys((*(usual if names is None else names), *weights)))
    networks: dict[str, Network] = {}
    skipped: dict[str, str] = {}
    for name in asked:
        if name in WITH_NETWORK:
            try:
                networks[name] = load_network(name, weights.get(name), device, download)
            except MissingWeights as error:
                if names is not None or name in weights:
                    raise
                skipped[name] = str(error)
    for name in names or ():
        if name in networks and networks[name].key != name:
            raise UnknownWeights(
                f"{name} was asked for, but {weights[name]} does not hold its official weights: ask for other metrics "
                f"only, and it is measured as {networks[name].key}; or leave the file out"
            )
    return Metrics(tuple(name for name in asked if name not in skipped), networks, skipped, measuring)


def load_network(name: str, weights: str | Path | None = None, device: str = "cpu", download: bool = False) -> Network:
    """The network of one metric; arguments and errors as for `load_metrics`."""
    if name == IDENTITY:
        return load_identity("arcface" if weights is None else str(weights), device)
    for perceptual in PERCEPTUAL:
        if name == perceptual:
            return load_perceptual(perceptual, weights, device, download)
    for distance in DISTANCES:
        if name == distance:
            return load_extractor(distance, weights, device, download)
    raise ValueError(f"{name} needs no network")


def _check_names(names: Sequence[str] | Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"there is no metric {', '.join(unknown)} here; choose from {', '.join(known)}")
