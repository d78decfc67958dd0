"""Codecs between images and latents: the base class, space to depth, and diffusers' autoencoders."""

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from hia.config import CodecConfig
from hia.weights.load import FrozenModule

CONFIG_FILE = "codec.json"


class Codec(FrozenModule, ABC):
    """A frozen, deterministic codec; gradients flow through both directions.

    A latent stands for `factor` x `factor` pixels and has `latent_channels`. The `latents_mean` and
    `latents_std` of the configuration, per channel, standardise the latents after the codec's own scaling.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: CodecConfig, factor: int, latent_channels: int) -> None:
        super().__init__()
        self.config, self.factor, self.latent_channels = config, factor, latent_channels
        self.name: str = config.kind
        mean = config.latents_mean or (0.0,) * latent_channels
        std = config.latents_std or (1.0,) * latent_channels
        for key, values in {"latents_mean": mean, "latents_std": std}.items():
            if len(values) != latent_channels:
                raise ValueError(f"codec.{key} has {len(values)} values; {self.name} has {latent_channels} channels")
        if min(std) <= 0:
            raise ValueError(f"codec.latents_std must be positive, not {min(std)}")
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def encode(self, images: Tensor) -> Tensor:
        """images [B, 3, H, W] in [-1, 1] -> latents [B, C, H/f, W/f]; of a distribution, the mean.

        Raises ValueError if H or W is not a multiple of the factor.
        """
        height, width = images.shape[-2:]
        self.check_size(width, height)
        return (self._encode(images.to(self.mean.dtype)) - self.mean) / self.std

    def decode(self, latents: Tensor) -> Tensor:
        """latents [B, C, h, w] -> images [B, 3, hf, wf], about [-1, 1]: not clamped, so gradients flow."""
        return self._decode(latents.to(self.mean.dtype) * self.std + self.mean)

    def check_size(self, width: int, height: int) -> None:
        """Raise ValueError, with the nearest sizes that fit, unless both are multiples of the factor."""
        for key, size in {"width": width, "height": height}.items():
            below = size // self.factor * self.factor
            nearest = [str(fitting) for fitting in (below, below + self.factor) if fitting > 0] or [str(self.factor)]
            if size <= 0 or size % self.factor:
                raise ValueError(
                    f"{key} {size} is not a multiple of {self.factor}, the factor of the codec {self.name}:"
                    f" the nearest are {' and '.join(nearest)}"
                )

    def save(self, folder: Path | str) -> None:
        """Write weights (safetensors) and codec.json, from which `load_codec` makes the same codec."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._save_weights(folder)
        # The weights lie in this folder, wherever it will be moved to.
        config = dataclasses.replace(self.config, weights=None)
        (folder / CONFIG_FILE).write_bytes(TypeAdapter(CodecConfig).dump_json(config, indent=2))

    @abstractmethod
    def _encode(self, images: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def _save_weights(self, folder: Path) -> None: ...


class PixelCodec(Codec):
    """Space to depth: factor x factor pixels become 3 * factor^2 channels. Exact, and without weights."""

    def __init__(self, factor: int = 2, config: CodecConfig | None = None) -> None:
        config = dataclasses.replace(config or CodecConfig(kind="pixel"), factor=factor)
        super().__init__(config, factor, 3 * factor**2)

    def _encode(self, images: Tensor) -> Tensor:
        return functional.pixel_unshuffle(images, self.factor)

    def _decode(self, latents: Tensor) -> Tensor:
        return functional.pixel_shuffle(latents, self.factor)

    def _save_weights(self, folder: Path) -> None:
        pass


class AutoencoderCodec(Codec):
    """A codec around a diffusers autoencoder; `slicing` (one image at a time) and `tiling` save memory.

    Both act on `encode` and `decode`. Tiles overlap and are blended: the result differs a little from that of
    the whole image. Raises ValueError if the latents are not of the shape that `config` says.
    """

    def __init__(self, autoencoder: Any, config: CodecConfig) -> None:
        settings = autoencoder.config
        super().__init__(config, 2 ** (len(settings.block_out_channels) - 1), settings.latent_channels)
        if (self.factor, self.latent_channels) != (config.pixels_per_latent, config.latent_channels):
            raise ValueError(
                f"this autoencoder has {self.latent_channels} latent channels and {self.factor} pixels per"
                f" latent; {self.name} must have {config.latent_channels} and {config.pixels_per_latent}"
            )
        self.autoencoder = autoencoder
        if config.slicing:
            autoencoder.enable_slicing()
        if config.tiling:
            autoencoder.enable_tiling()
        self.freeze()

    def _save_weights(self, folder: Path) -> None:
        self.autoencoder.register_to_config(_name_or_path="")  # or the file would have a path of this machine
        self.autoencoder.save_pretrained(folder, safe_serialization=True)


class KLCodec(AutoencoderCodec):
    """diffusers' AutoencoderKL; latents are the posterior's mean, shifted and scaled as its config says."""

    def __init__(self, autoencoder: Any, config: CodecConfig | None = None) -> None:
        super().__init__(autoencoder, config or CodecConfig(kind="sd-vae"))
        self.scale: float = autoencoder.config.scaling_factor
        self.shift: float = autoencoder.config.shift_factor or 0.0

    def _encode(self, images: Tensor) -> Tensor:
        return (self.autoencoder.encode(images).latent_dist.mode() - self.shift) * self.scale

    def _decode(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents / self.scale + self.shift).sample


class TinyCodec(AutoencoderCodec):
    """diffusers' AutoencoderTiny (TAESD); its latents are those of Stable Diffusion's VAE after scaling."""

    def __init__(self, autoencoder: Any, config: CodecConfig | None = None) -> None:
        super().__init__(autoencoder, config or CodecConfig(kind="taesd"))

    def _encode(self, images: Tensor) -> Tensor:
        # Tiled, diffusers collects into float32 whatever the images' type is.
        return self.autoencoder.encode(images).latents.to(images.dtype)

    def _decode(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents).sample.to(latents.dtype)
