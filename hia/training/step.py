"""One training step's mathematics: a batch in, a loss and its terms out. It has never heard of ranks or clusters."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hia.config import Stage
from hia.diffusion.schedule import NoiseSchedule
from hia.models.codec import Codec
from hia.models.face.embedder import FaceEmbedder
from hia.training.batch import Batch, Regions
from hia.training.losses import identity_loss, noise_mse, regional_mse


@dataclass(frozen=True)
class Supervision:
    """The frozen networks through which regional losses see: latents → image → face embedding."""

    codec: Codec
    face_embedder: FaceEmbedder | None = None


def training_loss(
    model: nn.Module,
    schedule: NoiseSchedule,
    batch: Batch,
    stage: Stage,
    generator: torch.Generator,
    supervision: Supervision | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The stage's weighted loss, and each of its terms by name (noise, face, hand, identity).

    Timesteps, noise and dropped conditions are drawn from `generator`, in this order. `model` is an Animator or a
    wrapper of one, with all its weights of one type. Raises ValueError when the stage has regional losses and the batch
    or `supervision` lacks them.
    """
    latents = batch.latents.float()
    timesteps = _draw_timesteps(latents, stage, generator)
    noise = torch.randn(latents.shape, generator=generator, device=generator.device).to(latents.device)
    keep = torch.rand(len(latents), generator=generator, device=generator.device) >= stage.condition_dropout
    noisy = schedule.add_noise(latents, noise, timesteps)
    dtype = next(model.parameters()).dtype
    prediction = model(
        noisy.to(dtype),
        timesteps,
        batch.reference_latents.to(dtype),
        batch.control.to(dtype),
        batch.image_token.to(dtype),
        keep.to(latents.device),
        **({"keep_control": torch.ones_like(keep, device=latents.device)} if stage.dropped == "reference" else {}),
    ).float()
    terms = {"noise": noise_mse(prediction, schedule.target(latents, noise, timesteps))}
    if stage.losses.regional:
        clean = schedule.predict_clean(noisy, prediction, timesteps)
        terms |= _regional_terms(clean, batch, stage, supervision)
    loss = torch.stack([getattr(stage.losses, name) * term for name, term in terms.items()]).sum()
    return loss, terms


def _draw_timesteps(latents: Tensor, stage: Stage, generator: torch.Generator) -> Tensor:
    """t uniform in the stage's range, one per sample.   → int64 [B]"""
    first, end = stage.timesteps
    size = (len(latents),)
    return torch.randint(first, end, size, generator=generator, device=generator.device).to(latents.device)


def _regional_terms(
    clean_latents: Tensor, batch: Batch, stage: Stage, supervision: Supervision | None
) -> dict[str, Tensor]:
    """Eq. 1 and 2 on the image decoded from the one-step estimate x'₀ [B, F, C, h, w]."""
    if batch.regions is None or supervision is None:
        lacking = "the batch's regions" if batch.regions is None else "a Supervision (codec, face embedder)"
        raise ValueError(f"stage {stage.name} has regional losses, which need {lacking}")
    regions = batch.regions
    predicted = supervision.codec.decode(clean_latents.flatten(0, 1)).float()
    target = regions.images.flatten(0, 1)
    terms = {}
    if stage.losses.face:
        terms["face"] = regional_mse(predicted, target, regions.face_mask.flatten(0, 1))
    if stage.losses.hand:
        terms["hand"] = regional_mse(predicted, target, regions.hand_mask.flatten(0, 1))
    if stage.losses.identity:
        terms["identity"] = _identity_term(predicted, regions, stage, supervision)
    return terms


def _identity_term(predicted: Tensor, regions: Regions, stage: Stage, supervision: Supervision) -> Tensor:
    """Eq. 2 between the reference's face and each predicted face, aligned by the target frame's five points."""
    if supervision.face_embedder is None or regions.reference_embedding is None:
        raise ValueError(
            f"stage {stage.name} has an identity loss, which needs a face embedder and reference embeddings"
        )
    usable = regions.face_usable.flatten()
    embeddings = supervision.face_embedder(predicted, regions.five_points.flatten(0, 1))
    frames = regions.images.shape[1]
    return identity_loss(regions.reference_embedding.repeat_interleave(frames, dim=0), embeddings, usable)


def generator_for(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator that depends on the seed and the place (stage, position of the first sample, …) alone."""
    text = "/".join(str(part) for part in (seed, *place))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
