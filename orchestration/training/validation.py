"""Validation on held-out clips: losses by range of timesteps and preview videos, divided among the processes."""

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import nn

from hia.config import Config, LossWeights, Stage, Stages
from hia.data.sampling import TrainingSamples
from hia.data.sampling.loader import collate
from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo
from hia.evaluation.protocol.reenactment import clip_driving_signal, reenact
from hia.models.animation_model import AnimationModel
from hia.models.animator import Animator
from hia.training.step import generator_for, training_loss
from hia.video import write_video
from hia.visualization.comparison import Comparison
from orchestration.training.context import TrainingContext
from orchestration.training.distributed import Process
from orchestration.training.run import SAMPLES, TrainingRun


@torch.no_grad()
def validation_losses(
    model: nn.Module, samples: TrainingSamples, context: TrainingContext, process: Process
) -> dict[str, float]:
    """Mean squared error of the prediction: `validation/loss`, and one for each range of timesteps.

    Samples and noise are fixed. All processes evaluate equally many samples at the same time, so that none waits long
    and sharded weights can be gathered. The result does not depend on their number, except for rounding.
    """
    settings = context.config.training
    stages = list(timestep_bins(context.stage, settings.validation_bins))
    seed, name = context.config.seed, context.stage.name
    sums = torch.zeros(len(stages), dtype=torch.float64)
    model.eval()
    for first in range(0, settings.validation_samples, process.world_size):
        position = first + process.rank
        counts = position < settings.validation_samples
        batch = context.batch(collate([samples[position if counts else 0]]))
        for index, stage in enumerate(stages):
            generator = generator_for(seed, name, "validation", position, index)
            _, terms = training_loss(model, context.schedule, batch, stage, generator)
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


def write_previews(
    run: TrainingRun, animator: Animator, context: TrainingContext, process: Process, step: int
) -> list[str]:
    """Write an mp4 for each of the first held-out clips; returns their names within the stage's folder.

    Processes animate different clips in rounds of equal length, at the same time, because sharded weights are gathered
    in every forward pass. Clips and noise are fixed, so that runs can be compared; held-out clips where there are any.
    """
    clips = _clips(context.store, run.config.training.preview_clips)
    (run.path / SAMPLES).mkdir(parents=True, exist_ok=True)
    model = AnimationModel(
        config=at_size_of(run.config, context.stage),
        animator=animator,
        codec=context.codec,
        image_encoder=context.image_encoder,
        sharpness=context.store.sharpness_scale,
    )
    animator.eval()
    for first in range(0, len(clips), process.world_size):
        index = first + process.rank
        info = clips[min(index, len(clips) - 1)]
        comparison = _animate(model, context.store, info)
        if index < len(clips):
            write_video(run.path / _name(step, index), comparison.video(), info.fps)
    animator.train()
    dist.barrier()
    return [_name(step, index) for index in range(len(clips))]


def _animate(model: AnimationModel, store: ClipStore, info: ClipInfo) -> Comparison:
    clip, frames = store.read(info), model.config.training.preview_frames
    truth, generated = reenact(model, clip, seed=model.config.seed, frames=frames)
    return Comparison(truth[0], clip_driving_signal(model, clip, frames), generated, truth)


def at_size_of(config: Config, stage: Stage) -> Config:
    """The configuration of a model that animates in the size at which a stage trains; γ stays that of the full size."""
    scale = stage.resolution_scale
    stages = {field.name: replace(getattr(config.stages, field.name), resolution_scale=1.0) for field in fields(Stages)}
    width, height = round(config.width * scale), round(config.height * scale)
    schedule = replace(config.schedule, gamma=config.gamma)
    return replace(config, width=width, height=height, stages=Stages(**stages), schedule=schedule)


def _name(step: int, index: int) -> str:
    return f"{SAMPLES}/step_{step:06d}_clip_{index}.mp4"


def _clips(store: ClipStore, most: int) -> tuple[ClipInfo, ...]:
    return (store.of_split("test") or store.of_split("train"))[:most]
