"""Animated clips on the way, from the same clips and the same noise each time, so that runs can be compared by eye."""

from dataclasses import fields, replace

import torch.distributed as dist

from hia.config import Config
from hia.data.records import ClipInfo
from hia.data.store import ClipStore
from hia.evaluation.pictures import Comparison
from hia.evaluation.reenactment import own_signal, reenact
from hia.models.animator import Animator
from hia.models.export import AnimationModel
from hia.training.stages import Stage, Stages
from hia.video import write_video
from orchestration.training.networks import Surroundings
from orchestration.training.processes import Process
from orchestration.training.run import SAMPLES, TrainingRun


def write_previews(
    run: TrainingRun, animator: Animator, around: Surroundings, process: Process, step: int
) -> list[str]:
    """Write an mp4 for each of the first held-out clips; returns their names within the stage's folder.

    Processes animate different clips in rounds of equal length: all of them are busy for as long, and in step, as
    sharded weights need it. Clips are held-out ones where there are any.
    """
    clips = _clips(around.store, run.config.training.preview_clips)
    (run.path / SAMPLES).mkdir(parents=True, exist_ok=True)
    model = AnimationModel(
        config=at_size_of(run.config, around.stage),
        animator=animator,
        codec=around.codec,
        image_encoder=around.image_encoder,
        sharpness=around.store.sharpness_scale,
    )
    animator.eval()
    for first in range(0, len(clips), process.world_size):
        index = first + process.rank
        info = clips[min(index, len(clips) - 1)]
        comparison = _animate(model, around.store, info)
        if index < len(clips):
            write_video(run.path / _name(step, index), comparison.video(), info.fps)
    animator.train()
    dist.barrier()
    return [_name(step, index) for index in range(len(clips))]


def _animate(model: AnimationModel, store: ClipStore, info: ClipInfo) -> Comparison:
    clip, frames = store.read(info), model.config.training.preview_frames
    truth, generated = reenact(model, clip, seed=model.config.seed, frames=frames)
    return Comparison(truth[0], own_signal(model, clip, frames), generated, truth)


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
