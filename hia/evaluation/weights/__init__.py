"""Official weights of published metrics: which files they are, where they lie, and that nobody has altered them."""

from hia.evaluation.weights.digests import AlteredWeights
from hia.evaluation.weights.official import OFFICIAL, Network
from hia.evaluation.weights.provenance import Provenance, UnknownWeights, official_state, state_of_file

__all__ = [
    "OFFICIAL",
    "AlteredWeights",
    "Network",
    "Provenance",
    "UnknownWeights",
    "official_state",
    "state_of_file",
]
