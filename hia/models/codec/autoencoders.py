"""Codecs around diffusers' autoencoders."""

from pathlib import Path
from typing import Any

from torch import Tensor

from hia.config import CodecConfig
from hia.models.codec.base import Codec


class AutoencoderCodec(Codec):
    """Around a diffusers autoencoder; `slicing` (one image at a time) and `tiling` save memory.

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
        self.autoencoder.register_to_config(_name_or_path="")  # else it tells where the weights lay on this machine
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
