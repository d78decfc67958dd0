"""Samples of tiny stores, for the tests of samples and batches."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hia.config import Config, LossWeights, Stage, load_config
from hia.config.stages import REGIONAL, SPATIAL, TEMPORAL_FULL, TEMPORAL_HALF
from hia.data.sampling import Draw, TrainingSamples
from hia.data.store.clip_store import ClipStore
from tests.conftest import TINY_CONFIG
from tests.data.tiny_store import HEIGHT, TOKEN_DIMENSION, WIDTH, TinyClip

WINDOWS = replace(TEMPORAL_FULL, frames=5, static_clip_probability=0.0)
HALF_WINDOWS = replace(TEMPORAL_HALF, frames=5)
WITHOUT_IDENTITY = replace(REGIONAL, losses=LossWeights(noise=1, face=1, hand=1))


def configuration(*overrides: str) -> Config:
    size = [f"width={WIDTH}", f"height={HEIGHT}", f"network.cross_attention_dim={TOKEN_DIMENSION}"]
    return load_config(TINY_CONFIG, [*size, *overrides])


def samples_of(store: ClipStore, stage: Stage = SPATIAL, *overrides: str, seed: int = 0) -> TrainingSamples:
    return TrainingSamples(store, configuration(*overrides), stage, seed)


def draws(samples: TrainingSamples, count: int = 300) -> list[Draw]:
    return [samples.draw(position) for position in range(count)]


def cut_short(clip: TinyClip, frames: int, **changes: object) -> TinyClip:
    keypoints = replace(
        clip.keypoints, keypoints=clip.keypoints.keypoints[:frames], scores=clip.keypoints.scores[:frames]
    )
    return replace(clip, keypoints=keypoints, frames=clip.frames[:frames], **changes)


def equal(one: Any, other: Any) -> bool:
    """Check whether two samples are equal in every value."""
    if is_dataclass(one):
        return all(equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other
