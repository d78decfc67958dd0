"""Animated clips on the way, from the same clips and the same noise each time, so that runs can be compared by eye."""

from dataclasses import replace

import torch
import torch.distributed as dist

from hia.data.records import ClipInfo
from hia.data.store import ClipStore
from hia.models.animator import Animator
from hia.models.export import AnimationModel
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
    animator.eval()
    names: list[str] = []
    for first in range(0, len(clips), process.world_size):
        clip = clips[min(first + process.rank, len(clips) - 1)]
        video = _animate(run, animator, around, clip)
        if first + process.rank < len(clips):
            side_by_side_video(run.path / _name(step, first + process.rank), video, clip.fps)
    animator.train()
    dist.barrier()
    names = [_name(step, index) for index in range(len(clips))]
    return names


def _name(step: int, index: int) -> str:
    return f"{SAMPLES}/step_{step:06d}_clip_{index}.mp4"


def _clips(store: ClipStore, most: int) -> tuple[ClipInfo, ...]:
    return (store.of_split("test") or store.of_split("train"))[:most]
