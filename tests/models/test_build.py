"""Building animators: random, at the size of Stable Diffusion 1.5, and from pretrained folders."""

import pytest
import torch
from diffusers import ControlNetModel, MotionAdapter, UNet2DConditionModel
from torch.testing import assert_close

from hia.config import load_config
from hia.models.build import build_animator
from hia.weights.find import MissingWeights

FROM_SCRATCH = "pretrained={unet: null, controlnet: null, motion: null, image_encoder: null}"


@pytest.fixture
def stable_diffusion(tmp_path, tiny_config):
    """A small folder of Stable Diffusion's shape, a three-channel ControlNet and a motion adapter."""
    config = tiny_config("codec={kind: sd-vae, factor: null}", "width=64", "height=96")
    unet = build_animator(config)[0].unet
    unet.save_pretrained(tmp_path / "sd" / "unet")
    controlnet = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(tmp_path / "sd" / "unet"))
    for parameter in controlnet.parameters():
        parameter.data += 0.01
    controlnet.save_pretrained(tmp_path / "openpose")
    adapter = MotionAdapter(block_out_channels=(32, 64), motion_layers_per_block=1, motion_num_attention_heads=4)
    adapter.save_pretrained(tmp_path / "motion")
    return tmp_path


def pretrained_config(tiny_config, folder, *overrides):
    return tiny_config(
        "codec={kind: sd-vae, factor: null}",
        "width=64",
        "height=96",
        f"pretrained.unet={folder / 'sd'}",
        f"pretrained.controlnet={folder / 'openpose'}",
        f"pretrained.motion={folder / 'motion'}",
        *overrides,
    )


def test_the_paper_preset_has_the_sizes_of_stable_diffusion():
    with torch.device("meta"):
        animator, _ = build_animator(load_config("paper", [FROM_SCRATCH]), motion=True)
    millions = {name: sum(p.numel() for p in animator.part(name)) / 1e6 for name in ("unet", "controlnet", "motion")}
    assert millions == pytest.approx({"unet": 859.5, "controlnet": 361.3, "motion": 453.2}, abs=0.05)
    assert sum(p.numel() for p in animator.part("appearance_encoder")) / 1e6 == pytest.approx(857.1, abs=0.05)


@pytest.mark.parametrize("preset", ["quickstart", "laptop", "small"])
def test_the_other_presets_build(preset):
    with torch.device("meta"):
        animator, _ = build_animator(load_config(preset, ["pretrained.model=null"]), motion=True)
    assert animator.has_motion


def test_random_weights_come_from_the_seed(tiny_config):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, _ = build_animator(tiny_config("seed=5"), motion=True)
    assert torch.equal(torch.get_rng_state(), state), "the global generator stays as it was"
    torch.manual_seed(2)
    again, _ = build_animator(tiny_config("seed=5"), motion=True)
    other, _ = build_animator(tiny_config("seed=6"), motion=True)
    states = [animator.state_dict() for animator in (one, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    weight = "unet.down_blocks.0.motion_modules.0.proj_in.weight"
    assert not torch.equal(states[0][weight], states[2][weight])


def test_pretrained_weights_arrive_in_all_modules_and_every_key_is_accounted_for(stable_diffusion, tiny_config):
    animator, report = build_animator(pretrained_config(tiny_config, stable_diffusion), motion=True)
    saved = UNet2DConditionModel.from_pretrained(stable_diffusion / "sd", subfolder="unet").state_dict()
    appearance, denoiser = animator.appearance_encoder.unet.state_dict(), animator.unet.state_dict()
    for key, value in saved.items():
        assert torch.equal(appearance[key], value) and torch.equal(denoiser[key], value), key
    motion = {key for key in denoiser if ".motion_modules." in key}
    assert set(denoiser) == set(saved) | motion
    adapter = MotionAdapter.from_pretrained(stable_diffusion / "motion").state_dict()
    assert motion == set(adapter)
    assert all(torch.equal(denoiser[key], adapter[key]) for key in motion if ".proj_out." not in key)
    assert set(report.loaded) == {"unet", "appearance_encoder", "controlnet", "motion"}
    assert report.new["controlnet"] == ("input channels of blur (zero)",)
    assert report.new["motion"] == ("proj_out of every layer (zero)",)


def test_a_three_channel_controlnet_is_unchanged_by_the_blur_channels(stable_diffusion, tiny_config, generator):
    animator, _ = build_animator(pretrained_config(tiny_config, stable_diffusion))
    original = ControlNetModel.from_pretrained(stable_diffusion / "openpose")
    latents, token = torch.randn(1, 4, 12, 8, generator=generator), torch.randn(1, 1, 16, generator=generator)
    control = torch.rand(1, 6, 96, 64, generator=generator)
    with torch.no_grad():
        ours = animator.control_residuals(latents, torch.tensor([9]), control, token)
        theirs = original(latents, torch.tensor([9]), token, control[:, :3], return_dict=False)
    for one, other in zip(ours, (*theirs[0], theirs[1]), strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_without_a_controlnet_it_starts_from_the_unets_encoder(stable_diffusion, tiny_config):
    config = pretrained_config(tiny_config, stable_diffusion, "pretrained.controlnet=null")
    animator, report = build_animator(config)
    assert torch.equal(animator.controlnet.conv_in.weight, animator.unet.conv_in.weight)
    assert report.new["controlnet"] and all(key.startswith("controlnet_") for key in report.new["controlnet"])


def test_weights_of_another_shape_are_refused_with_the_difference(stable_diffusion, tiny_config):
    wider = pretrained_config(tiny_config, stable_diffusion, "network.block_out_channels=[64,64]")
    with pytest.raises(ValueError, match=r"block_out_channels is \(32, 64\), configured \(64, 64\)"):
        build_animator(wider)
    longer = pretrained_config(tiny_config, stable_diffusion, "network.motion_max_frames=64")
    with pytest.raises(ValueError, match="motion_max_seq_length is 32, configured 64"):
        build_animator(longer, motion=True)


def test_missing_weights_say_what_where_and_how(tiny_config, tmp_path, no_weights):
    config = tiny_config(
        "codec={kind: sd-vae, factor: null}", "width=64", "height=96", "pretrained.unet=nobody/nothing"
    )
    with pytest.raises(MissingWeights, match="nobody/nothing") as refusal:
        build_animator(config)
    assert "Stable Diffusion 1.5" in str(refusal.value) and "HIA_WEIGHTS" in str(refusal.value)
