"""The loss of a training step: a batch in, the weighted loss and its terms out (paper sec. 3.1 and 3.3)."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hia.config import Stage
from hia.diffusion.schedule import NoiseSchedule
from hia.models.codec import Codec
from hia.models.face.embedder import FaceEmbedder
from hia.training.batch import Batch
from hia.training.losses import identity_loss, noise_mse, regional_mse


@dataclass(frozen=True)
class Supervision:
    """Frozen networks of the regional losses: latents → image → face embedding."""

    codec: Codec
    face_embedder: FaceEmbedder | None = None


@dataclass(frozen=True)
class Draws:
    """Random numbers of a step: timesteps int64 [B]; noise like the latents; keep bool [B], False drops conditions."""

    timesteps: Tensor
    noise: Tensor
    keep: Tensor

    @classmethod
    def of(cls, latents: Tensor, stage: Stage, generator: torch.Generator) -> "Draws":
        """Draw timesteps (uniform in the stage's range), noise and dropped conditions, in this order."""
        size = (len(latents),)
        options: Any = {"generator": generator, "device": generator.device}
        timesteps = torch.randint(*stage.timesteps, size, **options)
        noise = torch.randn(latents.shape, **options)
        keep = torch.rand(size, **options) >= stage.condition_dropout
        return cls(timesteps.to(latents.device), noise.to(latents.device), keep.to(latents.device))


def training_loss(
    model: nn.Module,
    schedule: NoiseSchedule,
    batch: Batch,
    stage: Stage,
    generator: torch.Generator,
    supervision: Supervision | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The stage's weighted loss, and each of its terms by name (noise, face, hand, identity).

    All random numbers come from `generator` (see `Draws`). `model` is an Animator or a wrapper of one, with all its
    weights of one type. Raises ValueError when the stage has regional losses and the batch or `supervision` lacks what
    they need.
    """
    latents = batch.latents.float()
    draws = Draws.of(latents, stage, generator)
    noisy = schedule.add_noise(latents, draws.noise, draws.timesteps)
    prediction = _predict(model, noisy, draws, batch, stage)
    terms = {"noise": noise_mse(prediction, schedule.target(latents, draws.noise, draws.timesteps))}
    if stage.losses.regional:
        clean = schedule.predict_clean(noisy, prediction, draws.timesteps)
        terms |= _regional_terms(clean, batch, stage, supervision)
    loss = torch.stack([getattr(stage.losses, name) * term for name, term in terms.items()]).sum()
    return loss, terms


def _predict(model: nn.Module, noisy: Tensor, draws: Draws, batch: Batch, stage: Stage) -> Tensor:
    """The model's prediction in float32, computed in the type of its weights; a dropped sample has no conditions."""
    dtype = next(model.parameters()).dtype
    kept = {"keep_control": torch.ones_like(draws.keep)} if stage.dropped == "reference" else {}
    conditions = (batch.reference_latents.to(dtype), batch.control.to(dtype), batch.image_token.to(dtype))
    return model(noisy.to(dtype), draws.timesteps, *conditions, draws.keep, **kept).float()


def _regional_terms(
    clean_latents: Tensor, batch: Batch, stage: Stage, supervision: Supervision | None
) -> dict[str, Tensor]:
    """Eq. 1 and 2 on the image decoded from the one-step estimate x'₀ [B, F, C, h, w]."""
    if batch.regions is None or batch.images is None or supervision is None:
        lacking = (
            "the batch's images and regions"
            if batch.regions is None or batch.images is None
            else "a Supervision (codec, face embedder)"
        )
        raise ValueError(f"stage {stage.name} has regional losses, which need {lacking}")
    regions = batch.regions
    predicted = supervision.codec.decode(clean_latents.flatten(0, 1)).float()
    target = batch.images.flatten(0, 1)
    terms = {}
    if stage.losses.face:
        terms["face"] = regional_mse(predicted, target, regions.face_mask.flatten(0, 1))
    if stage.losses.hand:
        terms["hand"] = regional_mse(predicted, target, regions.hand_mask.flatten(0, 1))
    if stage.losses.identity:
        terms["identity"] = _identity_term(predicted, batch, stage, supervision)
    return terms


def _identity_term(predicted: Tensor, batch: Batch, stage: Stage, supervision: Supervision) -> Tensor:
    """Eq. 2 between the reference's face and each predicted face, aligned by the target frame's five points."""
    regions = batch.regions
    if supervision.face_embedder is None or regions is None or regions.reference_embedding is None:
        raise ValueError(
            f"stage {stage.name} has an identity loss, which needs a face embedder and reference embeddings"
        )
    usable = regions.face_usable.flatten()
    embeddings = supervision.face_embedder(predicted, regions.five_points.flatten(0, 1))
    frames = batch.latents.shape[1]
    return identity_loss(regions.reference_embedding.repeat_interleave(frames, dim=0), embeddings, usable)


def generator_for(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator that depends on the seed and the place (stage, position of the first sample, …) alone."""
    text = "/".join(str(part) for part in (seed, *place))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
