"""Official weights of published metrics: registry of their files, search, checks of digests, and loading."""

from hia.evaluation.weights.digests import AlteredWeights
from hia.evaluation.weights.loading import Provenance, UnknownWeights, official_state, state_of_file
from hia.evaluation.weights.registry import OFFICIAL

__all__ = [
    "OFFICIAL",
    "AlteredWeights",
    "Provenance",
    "UnknownWeights",
    "official_state",
    "state_of_file",
]
