"""Building codecs from a configuration, from published weights, or from a saved folder."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from hia.config import CodecConfig
from hia.models.codec.codecs import CONFIG_FILE, Codec, KLCodec, PixelCodec, TinyCodec
from hia.weights.find import STABLE_DIFFUSION, TAESD, TAESD_FILES, MissingWeights, find_weights
from hia.weights.load import load_pretrained, load_state, load_strict

STABLE_DIFFUSION_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
"""Settings of Stable Diffusion 1.5's VAE that differ from the defaults of AutoencoderKL."""


KL_HINT = (
    "a Stable Diffusion 1.5 folder with its vae/, or a VAE folder with config.json: name it in codec.weights,"
    f" put it into a folder of $HIA_WEIGHTS, or let the hub load {STABLE_DIFFUSION}"
)
TAESD_HINT = (
    f"{' and '.join(TAESD_FILES.values())} of github.com/madebyollin/taesd (MIT), 5 MB, into a folder of"
    f" $HIA_WEIGHTS or into that of codec.weights; or let the hub load {TAESD}"
)


def build_codec(config: CodecConfig) -> Codec:
    """The codec of a configuration, with its weights.

    `config.weights` is a diffusers folder (the autoencoder's own, or a pipeline's with vae/), a hub id or,
    for taesd, a folder with the original pair of files; by default Stable Diffusion 1.5's VAE, or TAESD.
    Raises MissingWeights or, if they are broken, ValueError.
    """
    if config.kind == "pixel":
        return PixelCodec(config.pixels_per_latent, config)
    if config.kind == "taesd":
        return TinyCodec(_load_taesd(config.weights), config)
    from diffusers import AutoencoderKL  # its import takes seconds, which a pixel codec need not wait for

    source = config.weights or STABLE_DIFFUSION
    return KLCodec(load_pretrained(AutoencoderKL, source, subfolder="vae", hint=KL_HINT), config)


def build_random_codec(config: CodecConfig, seed: int = 0) -> Codec:
    """The codec at its full size with weights drawn from `seed`."""
    if config.kind == "pixel":
        return build_codec(config)
    from diffusers import AutoencoderKL, AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.kind == "taesd":
            return TinyCodec(AutoencoderTiny(), config)
        return KLCodec(AutoencoderKL(**STABLE_DIFFUSION_VAE), config)


def load_codec(folder: Path | str) -> Codec:
    """The codec that `Codec.save` wrote into `folder`, bit-equal.

    Raises MissingWeights if something is not there, ValueError, naming the file, if it is broken.
    """
    file = Path(folder).absolute() / CONFIG_FILE
    if not file.is_file():
        raise MissingWeights(f"weights not found: no {CONFIG_FILE} in {folder}, which a saved codec has")
    try:
        config = TypeAdapter(CodecConfig).validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file}: not a codec's configuration: {error}") from error
    weights = None if config.kind == "pixel" else str(file.parent)
    return build_codec(dataclasses.replace(config, weights=weights))


def _load_taesd(weights: str | None) -> Any:
    from diffusers import AutoencoderTiny

    folders = ("", "taesd/") if weights is None else (f"{weights}/",)
    names = [folder + TAESD_FILES["encoder"] for folder in folders]
    try:
        encoder = find_weights(*names, hint=TAESD_HINT).absolute()
    except MissingWeights:
        return load_pretrained(AutoencoderTiny, weights or TAESD, subfolder="vae", hint=TAESD_HINT)
    decoder = find_weights(str(encoder.with_name(TAESD_FILES["decoder"])), hint=TAESD_HINT)
    autoencoder: Any = AutoencoderTiny()
    load_strict(autoencoder.encoder, _layers(load_state(encoder), shift=0), encoder)
    # The original decoder counts its clamping as a layer, diffusers does not.
    load_strict(autoencoder.decoder, _layers(load_state(decoder), shift=-1), decoder)
    return autoencoder


def _layers(state: dict[str, Tensor], shift: int) -> dict[str, Tensor]:
    """The original "3.conv.0.weight" as diffusers' "layers.3.conv.0.weight", layer numbers shifted."""
    parts = [(*key.partition("."), value) for key, value in state.items()]
    return {
        f"layers.{int(number) + shift}.{rest}" if number.isdigit() else number + dot + rest: value
        for number, dot, rest, value in parts
    }
