"""Training samples: cut from the clips of a store, gathered to batches by processes that read ahead."""

from hia.data.samples.cut import Sample, SampleRegions
from hia.data.samples.dataset import TrainingSamples
from hia.data.samples.draw import Draw

__all__ = ["Draw", "Sample", "SampleRegions", "TrainingSamples"]
