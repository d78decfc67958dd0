"""Codecs between images [B, 3, H, W] in [-1, 1] and the latents [B, C, H/f, W/f] that diffusion works on."""

from hia.models.codec.codecs import Codec, KLCodec, PixelCodec, TinyCodec
from hia.models.codec.loading import build_codec, build_random_codec, load_codec

__all__ = [
    "Codec",
    "KLCodec",
    "PixelCodec",
    "TinyCodec",
    "build_codec",
    "build_random_codec",
    "load_codec",
]
