"""Which files of weights a metric needs, and where they are: for plans, which load no network."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hia.evaluation.weights import OFFICIAL, Network
from hia.evaluation.weights.places import find_files
from hia.models.face.embedder import KNOWN_WEIGHTS
from hia.weights import find_weights

IDENTITY, ARCFACE = "csim", "arcface"
NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "lpips_vgg_disco": "lpips_vgg",
        "lpips_vgg": "lpips_vgg",
        "lpips_alex": "lpips_alex",
        "fid": "inception",
        "fid_vid": "resnet3d",
        "fvd": "i3d",
        "fvd_videogpt": "i3d",
        "fvd_tensorflow": "i3d",
    }
)
"""The networks of metrics that have one, but for that of identity."""


def weight_files(metric: str, weights: str | None = None) -> list[Path]:
    """Files that loading a metric would read, the official ones or `weights`; none for a metric without a network.

    Raises MissingWeights when they are nowhere. Their content is not looked at.
    """
    if metric == IDENTITY:
        name = weights or ARCFACE
        names, hint = KNOWN_WEIGHTS.get(name, ((name,), "give the path of a weight file"))
        return [find_weights(*names, hint=hint)]
    if metric not in NETWORKS:
        return []
    if weights is not None:
        return [find_weights(weights, hint=f"give the path of the weights for {metric}")]
    return [path for _, path in find_files(OFFICIAL[NETWORKS[metric]])]
