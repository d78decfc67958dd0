"""Codecs: what they promise of latents, on random autoencoders."""

import dataclasses

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.testing import assert_close

from hia.config import CodecConfig
from hia.models.codec import Codec, KLCodec, PixelCodec, build_codec, build_random_codec, load_codec

MEAN, STD = (0.3, -0.2, 0.1, 0.5), (0.9, 1.1, 0.7, 1.3)


def tiny_kl(seed: int = 0, **changes) -> AutoencoderKL:
    """A random autoencoder of Stable Diffusion's shape, 8 channels wide."""
    torch.manual_seed(seed)
    settings = {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "norm_num_groups": 4,
        "sample_size": 64,
    }
    return AutoencoderKL(**(settings | changes))


def images_like(width: int, height: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(params=["sd-vae", "taesd", "pixel"])
def any_codec(request) -> Codec:
    """One of each kind, with random weights."""
    if request.param == "sd-vae":
        return KLCodec(tiny_kl())
    return build_random_codec(CodecConfig(kind=request.param), seed=0)


# --------------------------------------------------------------------------------------------- every codec


def test_latents_have_the_promised_shape(any_codec):
    latents = any_codec.encode(images_like(48, 64, count=2))
    assert latents.shape == (2, any_codec.latent_channels, 64 // any_codec.factor, 48 // any_codec.factor)
    assert any_codec.decode(latents).shape == (2, 3, 64, 48)


def test_the_configuration_promises_the_same_shape(any_codec):
    config = CodecConfig(kind=any_codec.name)
    assert config.pixels_per_latent == any_codec.factor
    assert config.latent_channels == any_codec.latent_channels


def test_encoding_is_deterministic(any_codec):
    image = images_like(32, 32)
    assert torch.equal(any_codec.encode(image), any_codec.encode(image))


def test_gradients_flow_through_a_frozen_codec(any_codec):
    image = images_like(32, 32).requires_grad_(True)
    latents = any_codec.encode(image)
    latents.retain_grad()
    any_codec.decode(latents).square().sum().backward()
    assert image.grad.abs().sum() > 0 and latents.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in any_codec.parameters())


@pytest.mark.parametrize(("width", "height", "told"), [(513, 64, "width 513"), (64, 31, "height 31")])
def test_sizes_that_do_not_fit_are_refused(any_codec, width, height, told):
    with pytest.raises(ValueError, match=f"{told} is not a multiple of {any_codec.factor}"):
        any_codec.encode(torch.zeros(1, 3, height, width))


def test_the_refusal_names_the_nearest_sizes():
    with pytest.raises(ValueError, match=r"width 510 is not a multiple of 8.* nearest are 504 and 512"):
        KLCodec(tiny_kl()).check_size(510, 512)


def test_fitting_sizes_pass():
    KLCodec(tiny_kl()).check_size(512, 896)


def test_a_saved_codec_is_bit_equal(any_codec, tmp_path):
    any_codec.save(tmp_path / "codec")
    loaded, image = load_codec(tmp_path / "codec"), images_like(32, 48)
    latents = any_codec.encode(image)
    assert type(loaded) is type(any_codec)
    assert torch.equal(loaded.encode(image), latents)
    assert torch.equal(loaded.decode(latents), any_codec.decode(latents))


def test_a_saved_codec_holds_safetensors_only(any_codec, tmp_path):
    any_codec.save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".json", ".safetensors"}


def test_a_saved_codec_may_be_moved_and_saved_again(tmp_path):
    KLCodec(tiny_kl()).save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    load_codec(tmp_path / "second").save(tmp_path / "third")
    assert str(tmp_path) not in (tmp_path / "third" / "codec.json").read_text()
    image = images_like(32, 32)
    assert torch.equal(load_codec(tmp_path / "third").encode(image), KLCodec(tiny_kl()).encode(image))


# ----------------------------------------------------------------------------------------- standardisation


def test_mean_and_deviation_apply_after_the_codecs_own_scaling():
    autoencoder, image = tiny_kl(), images_like(32, 32)
    raw = autoencoder.encode(image).latent_dist.mean * 0.18215
    expected = torch.stack([(raw[:, i] - MEAN[i]) / STD[i] for i in range(4)], dim=1)
    standard = CodecConfig(kind="sd-vae", latents_mean=MEAN, latents_std=STD)
    assert_close(KLCodec(autoencoder, standard).encode(image), expected)


def test_decoding_undoes_the_standardisation():
    autoencoder, raw = tiny_kl(), torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    standard = CodecConfig(kind="sd-vae", latents_mean=MEAN, latents_std=STD)
    standardised = torch.stack([(raw[:, i] - MEAN[i]) / STD[i] for i in range(4)], dim=1)
    expected = KLCodec(autoencoder).decode(raw)
    assert_close(KLCodec(autoencoder, standard).decode(standardised), expected)


def test_standardisation_is_saved(tmp_path):
    config = CodecConfig(kind="sd-vae", latents_mean=MEAN, latents_std=STD, slicing=True)
    KLCodec(tiny_kl(), config).save(tmp_path)
    loaded = load_codec(tmp_path)
    assert dataclasses.replace(loaded.config, weights=None) == config
    assert torch.equal(loaded.mean.flatten(), torch.tensor(MEAN))


def test_one_value_per_channel_is_demanded():
    config = CodecConfig(kind="sd-vae", latents_mean=(0.0,), latents_std=(1.0,))
    with pytest.raises(ValueError, match="latents_mean has 1 values; sd-vae has 4 channels"):
        KLCodec(tiny_kl(), config)


def test_deviations_must_be_positive():
    config = CodecConfig(kind="sd-vae", latents_mean=MEAN, latents_std=(1.0, 0.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="latents_std must be positive"):
        KLCodec(tiny_kl(), config)


# --------------------------------------------------------------------------------------------- pixel codec


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_pixels_come_back_exactly(factor):
    codec, image = PixelCodec(factor), images_like(48, 32, count=2)
    assert torch.equal(codec.decode(codec.encode(image)), image)


def test_a_latent_holds_the_pixels_of_its_square():
    image = images_like(8, 8)
    latents = PixelCodec(2).encode(image)
    assert sorted(latents[0, :, 1, 3].tolist()) == sorted(image[0, :, 2:4, 6:8].flatten().tolist())


def test_the_pixel_codec_has_factor_2_by_default():
    assert build_codec(CodecConfig(kind="pixel")).factor == 2


# ------------------------------------------------------------------------------------------------ KL codec


def test_the_latent_is_the_scaled_mean_of_the_posterior():
    autoencoder, image = tiny_kl(), images_like(32, 32)
    moments = autoencoder.quant_conv(autoencoder.encoder(image))
    assert_close(KLCodec(autoencoder).encode(image), moments[:, :4] * 0.18215)


def test_a_shift_factor_is_taken_off_before_scaling():
    autoencoder, image = tiny_kl(shift_factor=0.4, scaling_factor=0.5), images_like(32, 32)
    mean = autoencoder.encode(image).latent_dist.mean
    assert_close(KLCodec(autoencoder).encode(image), (mean - 0.4) * 0.5)


def test_decoding_undoes_scale_and_shift():
    autoencoder = tiny_kl(shift_factor=0.4, scaling_factor=0.5)
    raw = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert_close(KLCodec(autoencoder).decode((raw - 0.4) * 0.5), autoencoder.decode(raw).sample)


def test_slicing_decodes_one_image_at_a_time_to_the_same_images():
    autoencoder = tiny_kl()
    latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = KLCodec(autoencoder).decode(latents)
    batches = []
    autoencoder.decoder.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    sliced = KLCodec(autoencoder, CodecConfig(kind="sd-vae", slicing=True)).decode(latents)
    assert batches == [1, 1, 1]
    assert_close(sliced, whole, atol=1e-5, rtol=1e-5)


def test_tiling_decodes_parts_of_a_large_image():
    autoencoder = tiny_kl(sample_size=64)
    sizes = []
    autoencoder.decoder.register_forward_pre_hook(lambda _, inputs: sizes.append(max(inputs[0].shape[-2:])))
    image = KLCodec(autoencoder, CodecConfig(kind="sd-vae", tiling=True)).decode(torch.randn(1, 4, 16, 12))
    assert image.shape == (1, 3, 128, 96)
    assert len(sizes) > 1 and max(sizes) == 8


def test_other_latents_than_the_configuration_promises_are_refused():
    with pytest.raises(ValueError, match=r"16 latent channels.* must have 4"):
        KLCodec(tiny_kl(latent_channels=16))


def test_the_random_vae_has_the_size_of_stable_diffusions():
    codec = build_random_codec(CodecConfig(kind="sd-vae"))
    assert sum(parameter.numel() for parameter in codec.parameters()) == 83_653_863


def test_random_weights_come_from_the_seed_alone():
    config, image = CodecConfig(kind="taesd"), images_like(16, 16)
    torch.manual_seed(1)
    first = build_random_codec(config, seed=5).encode(image)
    assert torch.equal(build_random_codec(config, seed=5).encode(image), first)
    assert not torch.equal(build_random_codec(config, seed=6).encode(image), first)
