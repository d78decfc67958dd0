"""The loss on held-out clips by range of timesteps, from fixed samples and noise, shared out among the processes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import nn

from hia.data.batches import collate
from hia.data.samples import TrainingSamples
from hia.training.randomness import generator_for
from hia.training.stages import LossWeights, Stage
from hia.training.step import training_loss
from orchestration.training.networks import Surroundings
from orchestration.training.processes import Process


@torch.no_grad()
def validation_losses(
    model: nn.Module, samples: TrainingSamples, surroundings: Surroundings, process: Process
) -> dict[str, float]:
    """Mean squared error of the prediction: `validation/loss`, and one for each range of timesteps.

    Every process evaluates as many samples, in step, so that none waits long, and sharded weights can be gathered.
    The result does not depend on their number (but for rounding).
    """
    settings = surroundings.config.training
    stages = list(timestep_bins(surroundings.stage, settings.validation_bins))
    seed, name = surroundings.config.seed, surroundings.stage.name
    sums = torch.zeros(len(stages), dtype=torch.float64)
    model.eval()
    for first in range(0, settings.validation_samples, process.world_size):
        position = first + process.rank
        counts = position < settings.validation_samples
        batch = surroundings.batch(collate([samples[position if counts else 0]]))
        for index, stage in enumerate(stages):
            generator = generator_for(seed, name, "validation", position, index)
            _, terms = training_loss(model, surroundings.schedule, batch, stage, generator)
            sums[index] += float(terms["noise"]) * counts
    model.train()
    sums = sums.to(process.device)
    dist.all_reduce(sums)
    means = (sums / settings.validation_samples).tolist()
    ranges = (f"validation/loss_t{stage.timesteps[0]:03d}-{stage.timesteps[1] - 1:03d}" for stage in stages)
    return {"validation/loss": sum(means) / len(means)} | dict(zip(ranges, means, strict=True))


def timestep_bins(stage: Stage, bins: int) -> Iterator[Stage]:
    """The stage restricted to each of `bins` equal ranges of its timesteps, without dropped conditions."""
    first, end = stage.timesteps
    edges = [first + (end - first) * index // bins for index in range(bins + 1)]
    for begin, stop in pairwise(edges):
        if stop > begin:
            yield replace(stage, timesteps=(begin, stop), condition_dropout=0.0, losses=LossWeights())
