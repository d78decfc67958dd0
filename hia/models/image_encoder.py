"""The image token: CLIP's embedding of the reference image, read by cross-attention."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hia.weights.load import FrozenModule, load_pretrained

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HINT = (
    "the folder image_encoder/ of lambdalabs/sd-image-variations-diffusers, or any CLIP model with a vision"
    " projection: name it in pretrained.image_encoder, or put it into a folder of $HIA_WEIGHTS"
)


class ImageEncoder(FrozenModule):
    """Around transformers' CLIPVisionModelWithProjection; frozen. `dimension` is the token's width."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.image_size: int = model.config.image_size
        self.dimension: int = model.config.projection_dim
        self.register_buffer("mean", torch.tensor(CLIP_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD)[:, None, None], persistent=False)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """images [B, 3, H, W] in [-1, 1] -> image token [B, 1, dimension]."""
        pixels = self.preprocess(images).to(self.model.dtype)
        return self.model(pixel_values=pixels).image_embeds[:, None]

    def preprocess(self, images: Tensor) -> Tensor:
        """CLIP's own preprocessing: images [B, 3, H, W] in [-1, 1] -> normalised [B, 3, size, size].

        The shorter side is resized (bicubic, anti-aliased), then the centre is cut out, as CLIP was trained:
        squeezed or padded, people would look as it never saw them. What the crop loses of a tall frame
        reaches the denoiser through the appearance encoder. Training and inference share this.
        """
        height, width = images.shape[-2:]
        scale = self.image_size / min(height, width)
        size = [max(self.image_size, int(scale * side)) for side in (height, width)]
        resized = functional.interpolate(images.float(), size, mode="bicubic", antialias=True, align_corners=False)
        top, left = [(side - self.image_size) // 2 for side in size]
        centre = resized[..., top : top + self.image_size, left : left + self.image_size]
        # Bicubic resizing overshoots at edges; byte images, which CLIP was trained on, cannot.
        return (((centre + 1) / 2).clamp(0, 1) - self.mean) / self.std

    def save(self, folder: Path | str) -> None:
        """Write weights (safetensors) and configuration; `load_image_encoder` reads them back bit-equal."""
        self.model.save_pretrained(folder)


def load_image_encoder(path_or_hub_id: str) -> ImageEncoder:
    """The encoder in `image_encoder/` (Stable Diffusion image variations) or in the folder itself.

    Raises MissingWeights if there is none, ValueError if its files are broken.
    """
    from transformers import CLIPVisionModelWithProjection  # it takes seconds to import

    model = load_pretrained(CLIPVisionModelWithProjection, path_or_hub_id, subfolder="image_encoder", hint=HINT)
    return ImageEncoder(model)
