"""Codecs from files: TAESD's real weights on real pictures, and every way in which files can be wrong."""

import json
from pathlib import Path

import cv2
import huggingface_hub.constants
import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hia.config import CodecConfig
from hia.models.codec import Codec, KLCodec, PixelCodec, build_codec, load_codec
from hia.weights.find import MissingWeights

BLUE_SUIT, GREY_SWEATER = "images/flux_woman_0284.jpg", "images/cgi_woman_body.jpg"


def picture(file: Path, width: int) -> Tensor:
    """A picture resized to `width`, its height cut to a multiple of 8: [1, 3, H, W] in [-1, 1]."""
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    height = round(image.shape[0] * width / image.shape[1])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)[: height // 8 * 8]
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * ((a - b) / 2).square().mean().log10())


def tiny_kl() -> AutoencoderKL:
    """A random autoencoder of Stable Diffusion's shape, 8 channels wide."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
    )


def images_like(width: int, height: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def taesd_folder(sample_data: Path) -> str:
    return str(sample_data / "weights")


@pytest.fixture(scope="module")
def taesd(taesd_folder: str) -> Codec:
    return build_codec(CodecConfig(kind="taesd", weights=taesd_folder))


# --------------------------------------------------------------------------------------------------- TAESD


@pytest.mark.parametrize("file", [BLUE_SUIT, GREY_SWEATER])
def test_taesd_keeps_pictures_of_people(taesd, sample_data, file):
    """Nine of the twelve sample pictures reach 28 dB; leaves, a waterfall and a small badge give 22 to 26."""
    image = picture(sample_data / file, 512)
    assert psnr(taesd.decode(taesd.encode(image)).clamp(-1, 1), image) >= 28


def test_taesd_latents_have_about_unit_variance(taesd, sample_data):
    latents = taesd.encode(picture(sample_data / BLUE_SUIT, 256))
    assert 0.5 < latents.std() < 1.5 and latents.mean().abs() < 0.5


def test_tiny_codec_from_a_diffusers_folder_equals_the_original_pair(taesd, tmp_path):
    taesd.autoencoder.save_pretrained(tmp_path)
    image = images_like(32, 32)
    assert torch.equal(build_codec(CodecConfig(kind="taesd", weights=str(tmp_path))).encode(image), taesd.encode(image))


def test_taesd_is_found_in_the_weight_folders(taesd, taesd_folder, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", taesd_folder)
    image = images_like(32, 32)
    assert torch.equal(build_codec(CodecConfig(kind="taesd")).encode(image), taesd.encode(image))


def test_tiled_and_whole_pictures_look_the_same(taesd, taesd_folder, sample_data):
    image = picture(sample_data / BLUE_SUIT, 256)
    tiled = build_codec(CodecConfig(kind="taesd", weights=taesd_folder, tiling=True))
    tiled.autoencoder.tile_sample_min_size, tiled.autoencoder.tile_latent_min_size = 128, 16
    latents = taesd.encode(image)
    assert psnr(tiled.decode(latents), taesd.decode(latents)) > 30


def test_half_precision_stays_half_precision(taesd_folder):
    codec = build_codec(CodecConfig(kind="taesd", weights=taesd_folder, tiling=True)).bfloat16()
    latents = codec.encode(images_like(32, 32).bfloat16())
    assert latents.dtype == codec.decode(latents).dtype == torch.bfloat16


# ------------------------------------------------------------------------------------ Stable Diffusion's VAE


@pytest.mark.parametrize("layout", ["", "vae"])
def test_a_vae_is_loaded_from_its_folder_or_a_pipelines(tmp_path, layout):
    autoencoder, image = tiny_kl(), images_like(32, 32)
    autoencoder.save_pretrained(tmp_path / layout)
    codec = build_codec(CodecConfig(kind="sd-vae", weights=str(tmp_path)))
    assert torch.equal(codec.encode(image), KLCodec(autoencoder).encode(image))


def test_a_vae_is_loaded_from_a_partial_hub_cache_without_network(tmp_path, monkeypatch):
    model, commit = tmp_path / "models--owner--pipeline", "0" * 40
    tiny_kl().save_pretrained(model / "snapshots" / commit / "vae")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    codec, image = build_codec(CodecConfig(kind="sd-vae", weights="owner/pipeline")), images_like(32, 32)
    assert torch.equal(codec.encode(image), KLCodec(tiny_kl()).encode(image))


# ----------------------------------------------------------------------------- missing and broken weights


@pytest.fixture
def pair(taesd_folder, tmp_path) -> Path:
    """A folder with the original pair of TAESD files, to be spoilt."""
    for part in ("encoder", "decoder"):
        name = f"taesd_{part}.safetensors"
        (tmp_path / name).write_bytes((Path(taesd_folder) / name).read_bytes())
    return tmp_path


def test_half_a_taesd_is_missing_its_other_half(pair):
    (pair / "taesd_decoder.safetensors").unlink()
    with pytest.raises(MissingWeights, match=r"taesd_decoder\.safetensors"):
        build_codec(CodecConfig(kind="taesd", weights=str(pair)))


def test_an_empty_taesd_file_is_refused_by_name(pair):
    (pair / "taesd_encoder.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"taesd_encoder\.safetensors: the weight file is empty"):
        build_codec(CodecConfig(kind="taesd", weights=str(pair)))


def test_swapped_taesd_files_are_refused(pair):
    encoder, decoder = pair / "taesd_encoder.safetensors", pair / "taesd_decoder.safetensors"
    encoder.rename(pair / "spare")
    decoder.rename(encoder)
    with pytest.raises(ValueError, match=r"taesd_encoder\.safetensors: the weights do not fit EncoderTiny"):
        build_codec(CodecConfig(kind="taesd", weights=str((pair / "spare").rename(decoder).parent)))


@pytest.mark.parametrize("kind", ["sd-vae", "taesd"])
def test_a_folder_without_the_codec_is_missing_weights(kind, tmp_path):
    with pytest.raises(MissingWeights, match=r"config\.json"):
        build_codec(CodecConfig(kind=kind, weights=str(tmp_path)))


def test_a_broken_vae_is_refused_by_its_folder(tmp_path):
    tiny_kl().save_pretrained(tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{tmp_path}/vae: cannot be loaded as AutoencoderKL"):
        build_codec(CodecConfig(kind="sd-vae", weights=str(tmp_path)))


def test_a_vae_with_tensors_lacking_is_refused(tmp_path):
    tiny_kl().save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["decoder.conv_in.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing: decoder\.conv_in\.weight"):
        build_codec(CodecConfig(kind="sd-vae", weights=str(tmp_path)))


def test_a_vae_folder_without_weights_is_refused(tmp_path):
    tiny_kl().save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises((ValueError, MissingWeights), match=str(tmp_path)):
        build_codec(CodecConfig(kind="sd-vae", weights=str(tmp_path)))


def test_a_saved_codec_without_its_configuration_is_missing_weights(tmp_path):
    with pytest.raises(MissingWeights, match=r"no codec\.json"):
        load_codec(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"kind": "jpeg"}', '{"kind": "pixel", "quality": 3}'])
def test_a_broken_configuration_is_refused_by_name(tmp_path, text):
    (tmp_path / "codec.json").write_text(text)
    with pytest.raises(ValueError, match=r"codec\.json: not a codec's configuration"):
        load_codec(tmp_path)


def test_the_saved_configuration_is_plain_json(tmp_path):
    PixelCodec(4).save(tmp_path)
    saved = json.loads((tmp_path / "codec.json").read_text())
    assert (saved["kind"], saved["factor"], saved["weights"]) == ("pixel", 4, None)


def test_a_factor_belongs_to_the_pixel_codec():
    with pytest.raises(ValidationError, match="factor"):
        CodecConfig(kind="taesd", factor=8)
