"""Training samples: cut from the clips of a store, and read ahead in batches by worker processes."""

from hia.data.sampling.dataset import TrainingSamples
from hia.data.sampling.draw import Draw
from hia.data.sampling.sample import Regions, Sample

__all__ = ["Draw", "Regions", "Sample", "TrainingSamples"]
