"""All metrics behind one function: `load_metrics(...)` once per process, `.score(pair)` per video, then `summarise`.

The registry is `hia.config.metrics`. Metrics that are not selected by name are measured where possible: a network
whose weights are missing is left out, with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from hia.config.metrics import METRICS, Group, Metric, network_of
from hia.evaluation.features import load_extractor
from hia.evaluation.identity import load_csim
from hia.evaluation.perceptual import load_perceptual
from hia.evaluation.scores import (
    DEFAULT_SETTINGS,
    Features,
    Figures,
    MetricInput,
    MetricSettings,
    MetricUnavailable,
    Rows,
    VideoPair,
    VideoScores,
)
from hia.evaluation.video_metrics import MEASURES, SHARPNESS, agreement_of
from hia.evaluation.weights.loading import Provenance, UnknownWeights
from hia.evaluation.weights.registry import OFFICIAL
from hia.weights.find import FACE_EMBEDDERS, MissingWeights

WITH_NETWORK = tuple(name for name, metric in METRICS.items() if metric.network is not None)
USUAL = tuple(name for name, metric in METRICS.items() if metric.usual)


class NetworkMetric(Protocol):
    """A metric with its network on a device; `key` is the only name that its results may have."""

    @property
    def key(self) -> str: ...

    @property
    def provenance(self) -> Provenance: ...

    def measure(self, video: MetricInput) -> Figures | Features:
        """Figures of one video, or rows to be compared over all videos. Raises MetricUnavailable, ValueError."""
        ...


# By group of metrics. Arguments: name of the metric, weights or None for the official ones, device, download.
LOADERS: Mapping[Group, Callable[[str, str | Path | None, str, bool], NetworkMetric]] = MappingProxyType(
    {"perceptual": load_perceptual, "identity": load_csim, "distance": load_extractor}
)


def check_registry(metrics: Mapping[str, Metric] = METRICS) -> None:
    """Check that every metric has its code and its weights. Raises AssertionError."""
    measured = {name for name, metric in metrics.items() if metric.network is None}
    assert measured == set(MEASURES), f"without code or without entry: {sorted(measured ^ set(MEASURES))}"
    for name, metric in metrics.items():
        if metric.network is not None:
            assert metric.group in LOADERS, f"{name}: no network is loaded for the group {metric.group}"
            assert metric.network in {*OFFICIAL, *FACE_EMBEDDERS}, f"{name}: no weights of {metric.network} are known"


check_registry()


@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics ready to be measured. networks: by name of metric; skipped: reasons by name of those left out."""

    names: tuple[str, ...]
    networks: Mapping[str, NetworkMetric] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    measuring: MetricSettings = DEFAULT_SETTINGS

    def score(self, pair: VideoPair, true_features: Mapping[str, Rows] = MappingProxyType({})) -> VideoScores:
        """Measure one video. Raises ValueError, with its name, e.g. for features that are not finite.

        true_features: rows of the true video by key, as earlier scores of it have them (`features[key].real`), so that
        they need not be computed again for every model.
        """
        counted = pair.from_frame(self.measuring.first_frame)
        video = MetricInput(pair, counted, self.measuring, true_features)
        figures: Figures = {}
        features: dict[str, Features] = {}
        left_out: dict[str, str] = {}
        for name in self.names:
            try:
                result = self._measure(name, video)
            except MetricUnavailable as reason:
                left_out[self.key(name)] = str(reason)
            except ValueError as error:
                raise ValueError(f"video {pair.name}: {error}") from error
            else:
                if isinstance(result, Features):
                    features[self.key(name)] = result
                    figures |= agreement_of(result) if name == SHARPNESS else {}
                else:
                    figures |= result
        return VideoScores(pair.name, len(counted), figures, features, left_out)

    def key(self, name: str) -> str:
        """The name of a metric's results: another one than the metric's when its weights are not the official ones."""
        return self.networks[name].key if name in self.networks else name

    def provenance(self) -> dict[str, Any]:
        """A record in plain values: settings, networks with their weights, and metrics that were skipped."""
        networks = {network.key: asdict(network.provenance) for network in self.networks.values()}
        return {"measuring": asdict(self.measuring), "networks": networks, "skipped": dict(self.skipped)}

    def _measure(self, name: str, video: MetricInput) -> Figures | Features:
        if name in self.networks:
            return self.networks[name].measure(video)
        return MEASURES[name](video.counted)


def load_metrics(
    names: Sequence[str] | None = None,
    weights: Mapping[str, str | Path] = MappingProxyType({}),
    measuring: MetricSettings = DEFAULT_SETTINGS,
    device: str = "cpu",
    download: bool = False,
    usual: Sequence[str] = USUAL,
) -> Metrics:
    """Metrics by name, or (None) the `usual` ones of which the weights can be found; networks go to `device`.

    weights: files to use instead of the official ones, by metric; these metrics are then measured also (`csim` takes
    `mobilefacenet`). Results with others than official weights are named after the network: `fd[i3d]`,
    `distance[lpips_vgg]`, `cosine[mobilefacenet]`. download: fetch official weights that are not found.

    Raises ValueError for unknown names, MissingWeights for metrics selected by name, UnknownWeights when the file for
    such a one has other weights, AlteredWeights for damaged official files.
    """
    _check_names(names or usual, tuple(METRICS))
    _check_names(weights, WITH_NETWORK)
    wanted = tuple(dict.fromkeys((*(usual if names is None else names), *weights)))
    networks: dict[str, NetworkMetric] = {}
    skipped: dict[str, str] = {}
    for name in (one for one in wanted if one in WITH_NETWORK):
        try:
            networks[name] = load_network(name, weights.get(name), device, download)
        except MissingWeights as error:
            if names is not None or name in weights:
                raise
            skipped[name] = str(error)
    _check_published(names or (), networks, weights)
    return Metrics(tuple(name for name in wanted if name not in skipped), networks, skipped, measuring)


def load_network(
    name: str, weights: str | Path | None = None, device: str = "cpu", download: bool = False
) -> NetworkMetric:
    """The network of one metric; arguments and errors as for `load_metrics`."""
    network_of(name)
    return LOADERS[METRICS[name].group](name, weights, device, download)


def _check_published(
    names: Sequence[str], networks: Mapping[str, NetworkMetric], weights: Mapping[str, str | Path]
) -> None:
    """Check that metrics selected by their published name have the published weights. Raises UnknownWeights."""
    for name in names:
        if name in networks and networks[name].key != name:
            raise UnknownWeights(
                f"{name} was asked for, but {weights[name]} does not hold its official weights: ask for other metrics "
                f"only, and it is measured as {networks[name].key}; or leave the file out"
            )


def _check_names(names: Sequence[str] | Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"there is no metric {', '.join(unknown)} here; choose from {', '.join(known)}")
