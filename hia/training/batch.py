"""The batch of a training step, on its device; latents and image tokens are encoded where the store lacks them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hia.data.sampling.sample import Regions, Sample
from hia.models.codec import Codec
from hia.models.image_encoder import ImageEncoder


@dataclass(frozen=True)
class Batch:
    """B samples of F frames.

    latents [B, F, C, h, w]; reference_latents [B, C, h, w]; control [B, F, K, H, W] (see render_control); image_token
    [B, 1, D]. For stages with regional losses, images [B, F, 3, H, W] in [−1, 1] and regions, masks in {0, 1} of the
    images' type. sample_ids: named in the error of a loss that is not finite.
    """

    latents: Tensor
    reference_latents: Tensor
    control: Tensor
    image_token: Tensor
    images: Tensor | None = None
    regions: Regions | None = None
    sample_ids: tuple[str, ...] = ()


def to_batch(
    samples: Sample,
    device: torch.device | str,
    token_dimension: int,
    codec: Codec | None = None,
    image_encoder: ImageEncoder | None = None,
    encode_batch: int = 8,
) -> Batch:
    """The samples as a batch for `training_loss`, in float32; the control image stays in float16.

    token_dimension: D of the image token, `Animator.image_token_dim`. codec: encodes the images of a store without
    latents, `encode_batch` at a time. image_encoder: makes tokens that the store lacks; a model without one gets the
    zero token, as in `hia.animation`. No gradients are recorded.
    Raises ValueError when the latents are missing and no codec is given, or a token has another dimension.
    """
    with torch.no_grad():
        images = None if samples.images is None else _as_images(samples.images, device)
        reference = None if samples.reference_image is None else _as_images(samples.reference_image, device)
        latents, reference_latents = _latents(samples, images, reference, device, codec, encode_batch)
        return Batch(
            latents=latents,
            reference_latents=reference_latents,
            control=samples.control.to(device),
            image_token=_image_token(samples, reference, device, token_dimension, image_encoder),
            images=images if samples.regions else None,
            regions=_regions(samples.regions, images),
            sample_ids=samples.sample_ids,
        )


def _as_images(pictures: Tensor, device: torch.device | str) -> Tensor:
    """uint8 [..., H, W, 3] → float32 [..., 3, H, W] in [−1, 1], as `hia.images.to_tensor`, on the device."""
    return pictures.to(device).movedim(-1, -3).float() / 127.5 - 1


def _latents(
    samples: Sample,
    images: Tensor | None,
    reference: Tensor | None,
    device: torch.device | str,
    codec: Codec | None,
    encode_batch: int,
) -> tuple[Tensor, Tensor]:
    """Latents [B, F, C, h, w] and those of the reference [B, C, h, w]."""
    if samples.latents is not None and samples.reference_latents is not None:
        return samples.latents.to(device).float(), samples.reference_latents.to(device).float()
    if codec is None or images is None or reference is None:
        raise ValueError("the store has no latents at this stage's size: give a codec to encode its frames")
    parts = torch.cat([images.flatten(0, 1), reference]).split(encode_batch)
    encoded = torch.cat([codec.encode(part).float() for part in parts])
    return encoded[: -len(reference)].unflatten(0, images.shape[:2]), encoded[-len(reference) :]


def _image_token(
    samples: Sample,
    reference: Tensor | None,
    device: torch.device | str,
    dimension: int,
    image_encoder: ImageEncoder | None,
) -> Tensor:
    """[B, 1, D]"""
    if samples.image_token is not None:
        token = samples.image_token[:, None].to(device).float()
    elif image_encoder is not None and reference is not None:
        token = image_encoder(reference).float()
    elif image_encoder is not None:
        raise ValueError("these samples have no picture of the reference for the image encoder: name it in the config")
    else:
        token = torch.zeros(len(samples.sample_ids), 1, dimension, device=device)
    if token.shape[-1] != dimension:
        raise ValueError(f"image tokens have {token.shape[-1]} values, the model reads {dimension}: another encoder's?")
    return token


def _regions(regions: Regions | None, images: Tensor | None) -> Regions | None:
    """The regions on the images' device; all of the images' type except `face_usable`."""
    if regions is None or images is None:
        return None
    embedding = regions.reference_embedding
    return Regions(
        face_mask=regions.face_mask.to(images),
        hand_mask=regions.hand_mask.to(images),
        five_points=regions.five_points.to(images),
        face_usable=regions.face_usable.to(images.device),
        reference_embedding=None if embedding is None else embedding.to(images),
    )
