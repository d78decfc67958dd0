"""The pose guider: a light pose branch that stands wherever the ControlNet does."""

import copy
from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch.testing import assert_close

from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import add_motion, build_animator
from hia.models.codec import build_codec
from hia.models.parts import load_part, part_parameters
from hia.models.pose_guider import PoseGuider
from hia.training.flops import training_flops

PARTS = ("appearance_encoder", "pose_guider", "unet")
GUIDER = ("network.pose_branch=pose_guider", f"stages.spatial.trains=[{','.join(PARTS)}]")
MAPS = "conditions.maps=[depth,normals]"


@pytest.fixture
def guided(tiny_config, as_if_trained):
    return as_if_trained(build_animator(tiny_config(*GUIDER))[0], scale=0.1)


def inputs(generator, batch=2, frames=3, channels=6):
    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    control = draw(batch, frames, channels, 48, 32)
    return (
        draw(batch, frames, 48, 12, 8),
        torch.tensor([7, 900])[:batch],
        draw(batch, 48, 12, 8),
        control,
        draw(batch, 1, 16),
    )


def test_a_new_guider_changes_nothing(tiny_config, generator):
    animator, _ = build_animator(tiny_config(*GUIDER))
    noisy, timesteps, reference, control, token = inputs(generator)
    with torch.no_grad():
        without = animator.denoise(noisy, timesteps, token, animator.encode_reference(reference, token))
        assert_close(animator(noisy, timesteps, reference, control, token), without, rtol=0, atol=0)


@torch.no_grad()
def test_its_output_is_added_behind_the_first_convolution(guided, generator):
    """Against diffusers' own UNet with a hook there."""
    noisy, timesteps, _, control, token = inputs(generator, frames=1)
    stock = UNet2DConditionModel.from_config(guided.unet.config)
    stock.load_state_dict(guided.unet.state_dict())
    guidance = guided.pose_guider(control[:, 0])
    assert guidance.shape == (2, 32, 12, 8) and guidance.abs().max() > 1e-3
    stock.conv_in.register_forward_hook(lambda _module, _inputs, output: output + guidance)
    residuals = guided.control_residuals(noisy[:, 0], timesteps, control[:, 0], token)
    assert_close(
        guided.denoise(noisy, timesteps, token, residuals=residuals)[:, 0],
        stock(noisy[:, 0], timesteps, token).sample,
        rtol=1e-5,
        atol=1e-5,
    )


@torch.no_grad()
def test_each_frame_reads_its_own_control_image_also_with_motion_layers(tiny_config, as_if_trained, generator):
    config = tiny_config(*GUIDER)
    spatial, given = as_if_trained(build_animator(config)[0], scale=0.1), inputs(generator)
    temporal = add_motion(spatial, config)
    assert_close(temporal(*given), spatial(*given), rtol=0, atol=1e-5)
    before = spatial(*given)
    given[3][1, 2] += 1
    changed = (spatial(*given) - before).flatten(2).abs().amax(dim=2)
    assert changed[1, 2] > 1e-3 and changed[0].max() == 0 and changed[1, :2].max() == 0


@torch.no_grad()
def test_a_dropped_sample_has_no_guidance(guided, generator):
    given = inputs(generator)
    dropped = guided(*given, keep=torch.tensor([False, True]))
    null = guided.denoise(given[0], given[1], torch.zeros_like(given[4]))
    assert_close(dropped[0], null[0], rtol=0, atol=1e-5)
    assert (dropped[1] - null[1]).abs().max() > 1e-2


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_weight_that_is_trained_gets_a_gradient(guided, generator, checkpointing):
    given, keep = inputs(generator), torch.tensor([True, False])
    guided.train_only(PARTS)
    guided(*given, keep=keep).square().mean().backward()
    gradients = {name: p.grad for name, p in guided.named_parameters() if p.requires_grad}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert any(name.startswith("pose_guider.") for name in gradients)
    if checkpointing:
        guided.zero_grad()
        guided.enable_gradient_checkpointing()
        guided(*given, keep=keep).square().mean().backward()
        for name, parameter in guided.named_parameters():
            if parameter.requires_grad:
                assert_close(parameter.grad, gradients[name], rtol=0, atol=0)


def test_checkpointing_keeps_less_of_the_control_image(guided, generator):
    control = inputs(generator)[3].flatten(0, 1)

    def stored_bytes():
        sizes = []

        def pack(tensor):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            guided.pose_guider(control)
        return sum(sizes)

    plain = stored_bytes()
    guided.enable_gradient_checkpointing()
    assert stored_bytes() < plain / 4


@torch.no_grad()
def test_the_first_convolution_compiles_whole_with_and_without_guidance(guided, generator):
    convolution = guided.unet.conv_in
    latents, guidance = inputs(generator)[0][0], torch.randn(3, 32, 12, 8, generator=generator)
    compiled = torch.compile(convolution, backend="eager", fullgraph=True)
    plain = compiled(latents)
    assert_close(plain, convolution(latents))
    assert_close(compiled(torch.cat([latents, guidance], dim=1)), plain + guidance)


def test_the_denoisers_weights_keep_their_names(guided, tiny_config):
    with_controlnet, _ = build_animator(tiny_config())
    assert list(guided.unet.state_dict()) == list(with_controlnet.unet.state_dict())


def test_only_the_branch_that_is_there_is_a_part(guided, tiny_config):
    with pytest.raises(ValueError, match="has a pose_guider instead"):
        guided.part("controlnet")
    with pytest.raises(ValueError, match="has a controlnet instead"):
        build_animator(tiny_config())[0].part("pose_guider")


def test_its_weights_go_from_stage_to_stage(guided, tiny_config):
    other, _ = build_animator(tiny_config(*GUIDER, "seed=3"))
    load_part(other, "pose_guider", part_parameters(guided, "pose_guider"), "weights")
    state = guided.pose_guider.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in other.pose_guider.state_dict().items())


@pytest.mark.parametrize("motion", [False, True])
@torch.no_grad()
def test_it_is_saved_and_loaded_with_the_model(motion, tiny_config, as_if_trained, generator, tmp_path):
    config = tiny_config(*GUIDER, MAPS)
    animator = as_if_trained(build_animator(config, motion)[0], scale=0.1)
    save_model(AnimationModel(config, animator, build_codec(config.codec)), tmp_path / "model")
    assert (tmp_path / "model" / "pose_guider").is_dir() and not (tmp_path / "model" / "controlnet").exists()
    loaded, given = load_model(tmp_path / "model"), inputs(generator, channels=12)
    assert torch.equal(loaded.animator(*given), animator(*given))
    assert loaded.to("cpu", torch.bfloat16).animator.pose_guider.dtype == torch.bfloat16


def test_a_model_whose_configuration_asks_for_the_other_branch_is_refused(tiny_config, tmp_path):
    config = tiny_config()
    save_model(AnimationModel(config, build_animator(config)[0], build_codec(config.codec)), tmp_path / "model")
    file = tmp_path / "model" / "hia.json"
    file.write_text(
        file.read_text()
        .replace('"pose_branch": "controlnet"', '"pose_branch": "pose_guider"')
        .replace('"controlnet",', '"pose_guider",')
    )
    with pytest.raises(ValueError, match="there is no pose_guider"):
        load_model(tmp_path / "model")


def test_it_is_light(tiny_config):
    """At Stable Diffusion's size: 1.1 M weights where a ControlNet has 361 M."""
    with torch.device("meta"):
        guider = PoseGuider((6,), 320, (16, 32, 96, 256))
    assert sum(parameter.numel() for parameter in guider.parameters()) / 1e6 == pytest.approx(1.086, abs=0.001)


def test_its_flops_are_counted(tiny_config, generator):
    animator, _ = build_animator(tiny_config(*GUIDER))
    given = inputs(generator, batch=1)
    animator.train_only(["unet"])
    without = training_flops(animator, lambda: animator(*given))
    animator.train_only(["unet", "pose_guider"])
    assert training_flops(animator, lambda: animator(*given)) > without


# ----------------------------------------------------------------------------------------- several kinds of pictures


@torch.no_grad()
def test_every_map_has_a_guider_of_its_own_and_their_outputs_are_summed(tiny_config, as_if_trained, generator):
    animator = as_if_trained(build_animator(tiny_config(*GUIDER, MAPS))[0], scale=0.1)
    control = torch.rand(2, 12, 48, 32, generator=generator)
    drawn, depth, normals = animator.pose_guider.guiders
    expected = drawn(control[:, :6]) + depth(control[:, 6:9]) + normals(control[:, 9:])
    assert_close(animator.pose_guider(control), expected)


def test_a_controlnet_reads_maps_as_further_channels(tiny_config):
    animator, _ = build_animator(tiny_config(MAPS))
    assert animator.controlnet.config.conditioning_channels == 12
    without_blur, _ = build_animator(tiny_config(MAPS, "conditions.blur=false"))
    assert without_blur.controlnet.config.conditioning_channels == 9


# -------------------------------------------------------------------------------------------------- starting weights


@pytest.fixture
def openpose(tiny_config, tmp_path):
    """A three-channel ControlNet in the tiny shape, with weights everywhere."""
    unet = copy.deepcopy(build_animator(tiny_config())[0].unet)
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_channels=3, conditioning_embedding_out_channels=(16, 32, 96)
    )
    for parameter in controlnet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    controlnet.save_pretrained(tmp_path / "openpose")
    return tmp_path / "openpose"


@torch.no_grad()
def test_a_pretrained_controlnet_gives_all_its_images_convolutions_but_the_last(tiny_config, openpose):
    animator, report = build_animator(tiny_config(*GUIDER, MAPS, f"pretrained.controlnet={openpose}"))
    theirs = ControlNetModel.from_pretrained(openpose).controlnet_cond_embedding.state_dict()
    ours = animator.pose_guider.guiders[0].state_dict()
    assert torch.equal(ours["conv_in.weight"][:, :3], theirs["conv_in.weight"])
    assert not ours["conv_in.weight"][:, 3:].any() and not ours["conv_out.weight"].any()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key.startswith("blocks."))
    assert "the guider of depth" in str(report)


def saved(tmp_path, config, animator):
    save_model(AnimationModel(config, animator, build_codec(config.codec)), tmp_path / "start")
    return f"pretrained.model={tmp_path / 'start'}"


@torch.no_grad()
def test_a_trained_controlnet_is_continued_on_other_channels(tiny_config, as_if_trained, generator, tmp_path):
    """Channels are matched by name: those of blur are dropped, those of maps get zero weights."""
    start = as_if_trained(build_animator(tiny_config())[0], scale=0.1)
    model = saved(tmp_path, tiny_config(), start)
    further, report = build_animator(tiny_config(model, "conditions.blur=false", "conditions.maps=[depth]"))
    noisy, timesteps, reference, control, token = inputs(generator)
    bare = torch.cat([control[:, :, :3], torch.zeros_like(control[:, :, 3:])], dim=2)
    with_depth = torch.cat([control[:, :, :3], control[:, :, 3:]], dim=2)
    found = further(noisy, timesteps, reference, with_depth, token)
    assert_close(found, start(noisy, timesteps, reference, bare, token), rtol=0, atol=1e-5)
    assert report.new["controlnet"] == ("input channels of depth (zero)",)


@torch.no_grad()
def test_a_trained_guider_is_continued_and_new_maps_change_nothing(tiny_config, as_if_trained, generator, tmp_path):
    start = as_if_trained(build_animator(tiny_config(*GUIDER, "conditions.maps=[depth]"))[0], scale=0.1)
    model = saved(tmp_path, tiny_config(*GUIDER, "conditions.maps=[depth]"), start)
    further, _ = build_animator(tiny_config(*GUIDER, model, "conditions.maps=[normals,depth]"))
    given = inputs(generator, channels=9)
    drawn, depth = given[3][:, :, :6], given[3][:, :, 6:]
    wider = torch.cat([drawn, torch.randn(depth.shape, generator=generator), depth], dim=2)
    expected, found = start(*given), further(*given[:3], wider, given[4])
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_guider_starts_from_a_trained_controlnets_convolutions(tiny_config, as_if_trained, tmp_path):
    start = as_if_trained(build_animator(tiny_config())[0], scale=0.1)
    animator, report = build_animator(tiny_config(*GUIDER, saved(tmp_path, tiny_config(), start)))
    ours, theirs = animator.pose_guider.guiders[0], start.controlnet.controlnet_cond_embedding
    assert torch.equal(ours.conv_in.weight, theirs.conv_in.weight)
    assert not ours.conv_out.weight.any()
    assert torch.equal(animator.unet.conv_in.weight, start.unet.conv_in.weight)
    assert "zero" in report.new["pose_guider"][0]


def test_stages_train_the_branch_that_there_is(tiny_config):
    with pytest.raises(ValueError, match=r"trains names controlnet, but network.pose_branch is pose_guider: name that"):
        tiny_config("network.pose_branch=pose_guider")
    config = tiny_config(*GUIDER)
    assert replace(config, seed=1).stages.spatial.trains == PARTS
