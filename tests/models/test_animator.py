"""The animator: reference attention, dropping, motion layers, gradients."""

import copy
from dataclasses import dataclass

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.testing import assert_close

from hia.models.build import build_animator
from hia.models.reference import ReferenceAttention, attention_function, self_attentions

PARTS = ("appearance_encoder", "controlnet", "unet", "motion")


@dataclass
class Inputs:
    noisy_latents: Tensor
    timesteps: Tensor
    reference_latents: Tensor
    control: Tensor
    image_token: Tensor

    def __iter__(self):
        return iter(vars(self).values())


def inputs(generator, batch=2, frames=3):
    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return Inputs(
        draw(batch, frames, 48, 12, 8),
        torch.tensor([7, 900])[:batch],
        draw(batch, 48, 12, 8),
        draw(batch, frames, 6, 48, 32),
        draw(batch, 1, 16),
    )


@pytest.fixture
def spatial(tiny_config, as_if_trained):
    return as_if_trained(build_animator(tiny_config())[0], scale=0.1)


@pytest.fixture
def temporal(tiny_config, as_if_trained):
    return as_if_trained(build_animator(tiny_config(), motion=True)[0], scale=0.1)


@pytest.mark.parametrize("name", ["spatial", "temporal"])
def test_the_reference_changes_the_output_of_its_own_clip_only(name, request, generator):
    animator, given = request.getfixturevalue(name), inputs(generator)
    with torch.no_grad():
        before = animator(*given)
        given.reference_latents[1] += 1
        after = animator(*given)
    assert_close(after[0], before[0], rtol=0, atol=0)
    assert (after[1] - before[1]).flatten(1).abs().amax(dim=1).min() > 1e-3, "every frame reads the reference"


@pytest.mark.parametrize("name", ["spatial", "temporal"])
def test_a_dropped_sample_has_neither_reference_nor_control_nor_token(name, request, generator):
    animator, given = request.getfixturevalue(name), inputs(generator)
    with torch.no_grad():
        full = animator(*given)
        dropped = animator(*given, keep=torch.tensor([False, True]))
        null = animator.denoise(given.noisy_latents, given.timesteps, torch.zeros_like(given.image_token))
    assert_close(dropped[0], null[0], rtol=0, atol=1e-5)
    assert_close(dropped[1], full[1], rtol=0, atol=1e-6)
    assert (full[0] - null[0]).abs().max() > 1e-2


def test_the_control_can_stay_where_the_reference_is_dropped(spatial, generator):
    """As guidance by the reference has it in its null half."""
    given, dropped = inputs(generator), torch.tensor([False, True])
    flat = given.noisy_latents.flatten(0, 1), given.timesteps.repeat_interleave(3), given.control.flatten(0, 1)
    with torch.no_grad():
        found = spatial(*given, keep=dropped, keep_control=torch.tensor([True, True]))
        residuals = spatial.control_residuals(*flat, given.image_token.repeat_interleave(3, dim=0))
        null = spatial.denoise(*list(given)[:2], torch.zeros_like(given.image_token), residuals=residuals)
        full = spatial(*given)
    assert_close(found[0], null[0], rtol=0, atol=1e-5)
    assert_close(found[1], full[1], rtol=0, atol=1e-6)


def test_without_a_reference_the_denoiser_is_diffusers_own(spatial, generator):
    given = inputs(generator, frames=1)
    stock = UNet2DConditionModel.from_config(spatial.unet.config)
    stock.load_state_dict(spatial.unet.state_dict())
    with torch.no_grad():
        ours = spatial.denoise(given.noisy_latents, given.timesteps, given.image_token)[:, 0]
        theirs = stock(given.noisy_latents[:, 0], given.timesteps, given.image_token).sample
    assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_reference_attention_is_attention_over_own_and_reference_tokens(spatial, generator):
    """Against softmax(QKᵀ/√d)V written out, on one layer."""
    name = self_attentions(spatial.unet)[0]
    layer = spatial.unet.get_submodule(name)
    own, reference = torch.randn(2, 3, 5, 32, generator=generator)
    keys_values = {name: (layer.to_k(reference), layer.to_v(reference))}
    found = layer(own, reference=keys_values)
    both = torch.cat([own, reference], dim=1)
    query, key, value = (
        x.reshape(3, -1, layer.heads, 32 // layer.heads).transpose(1, 2)
        for x in (layer.to_q(own), layer.to_k(both), layer.to_v(both))
    )
    weights = (query @ key.transpose(-1, -2) * (32 // layer.heads) ** -0.5).softmax(dim=-1)
    assert_close(found, layer.to_out[0]((weights @ value).transpose(1, 2).flatten(2)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 5])
def test_inference_takes_short_cuts_that_change_nothing(spatial, tokens, generator):
    """Also where a level has a single token left, whose self-attention must still read the reference."""
    name = self_attentions(spatial.unet)[0]
    layer, cross = spatial.unet.get_submodule(name), spatial.unet.get_submodule(name.replace("attn1", "attn2"))
    own, token = torch.randn(3, tokens, 32, generator=generator), torch.randn(3, 1, 16, generator=generator)
    reference = torch.randn(3, tokens, 32, generator=generator)
    keys_values = {name: (layer.to_k(reference), layer.to_v(reference))}
    with torch.no_grad():
        short = layer(own, reference=keys_values), cross(own, encoder_hidden_states=token)
    assert_close(short[0], layer(own, reference=keys_values), rtol=0, atol=1e-6)
    assert_close(short[1], cross(own, encoder_hidden_states=token), rtol=0, atol=1e-6)


def test_new_motion_layers_leave_every_frame_unchanged(tiny_config, generator):
    given = inputs(generator, frames=4)
    flat, _ = build_animator(tiny_config())
    moving, _ = build_animator(tiny_config(), motion=True)
    with torch.no_grad():
        assert_close(moving(*given), flat(*given), rtol=0, atol=1e-5)


def test_trained_motion_layers_connect_the_frames(temporal, generator):
    given = inputs(generator)
    with torch.no_grad():
        before = temporal(*given)
        given.noisy_latents[0, 0] += 1
        after = temporal(*given)
    assert (after[0, 2] - before[0, 2]).abs().max() > 1e-3
    assert_close(after[1], before[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("spatial", ("appearance_encoder", "controlnet", "unet")),
        ("spatial", ("appearance_encoder",)),
        ("temporal", ("motion",)),
    ],
)
def test_what_a_stage_trains_gets_gradients_and_nothing_else_does(name, parts, request, generator):
    animator = request.getfixturevalue(name)
    animator.train_only(parts)
    animator(*inputs(generator), keep=torch.tensor([True, False])).square().mean().backward()
    trainable = {id(parameter) for part in parts for parameter in animator.part(part)}
    assert trainable
    for key, parameter in animator.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trainable), key
        assert parameter.requires_grad == (id(parameter) in trainable), key


def test_the_parts_are_all_weights_but_the_dead_tail_without_overlap(temporal):
    counted = [id(parameter) for part in PARTS for parameter in temporal.part(part)]
    assert len(counted) == len(set(counted))
    rest = [key for key, parameter in temporal.named_parameters() if id(parameter) not in set(counted)]
    assert rest and all(key.startswith("appearance_encoder.unet.") for key in rest)


def test_the_dead_tail_is_dead_with_attention_missing_at_the_last_level(tiny_config, generator):
    animator, _ = build_animator(tiny_config("network.attention_levels=[false,true]"))
    animator.train_only(["appearance_encoder"])
    animator(*inputs(generator)).sum().backward()
    assert all(parameter.grad is not None for parameter in animator.part("appearance_encoder"))


def test_unknown_parts_are_refused(spatial):
    with pytest.raises(ValueError, match="unknown part 'vae'"):
        spatial.train_only(["vae"])
    with pytest.raises(ValueError, match="2D denoiser"):
        spatial.train_only(["motion"])


@pytest.mark.parametrize(
    ("name", "parts"), [("spatial", ("appearance_encoder", "controlnet", "unet")), ("temporal", ("motion",))]
)
def test_gradient_checkpointing_changes_no_gradient(name, parts, request, generator):
    animator, given = request.getfixturevalue(name), inputs(generator)
    animator.train_only(parts)
    keep = torch.tensor([True, False])
    animator(*given, keep=keep).square().mean().backward()
    plain = [parameter.grad for part in parts for parameter in animator.part(part)]
    animator.zero_grad()
    animator.enable_gradient_checkpointing()
    animator(*given, keep=keep).square().mean().backward()
    for part in parts:
        for parameter in animator.part(part):
            assert_close(parameter.grad, plain.pop(0), rtol=0, atol=0)


def test_gradient_checkpointing_stores_less_in_the_motion_layers(temporal, generator):
    def stored_bytes():
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            temporal.denoise(given.noisy_latents, given.timesteps, given.image_token)
        return total

    given = inputs(generator, frames=8)
    temporal.train_only(["motion"])
    plain = stored_bytes()
    temporal.unet.enable_gradient_checkpointing()
    diffusers_switch = stored_bytes()
    temporal.enable_gradient_checkpointing()
    assert stored_bytes() < 0.6 * diffusers_switch < diffusers_switch < plain


def test_a_denoiser_compiled_in_place_computes_the_same(temporal, generator):
    given = inputs(generator)
    with torch.no_grad():
        eager = temporal(*given)
        temporal.unet.compile(backend="aot_eager")
        assert_close(temporal(*given), eager, rtol=0, atol=1e-4)
    assert temporal.has_motion


def test_checkpointed_weights_keep_their_names(temporal):
    names = list(temporal.state_dict())
    temporal.enable_gradient_checkpointing()
    assert list(temporal.state_dict()) == names


def test_two_accumulated_micro_batches_equal_one_batch(spatial, generator):
    given = inputs(generator)
    spatial.train_only(["appearance_encoder", "unet"])
    spatial(*given).square().mean().backward()
    whole = [parameter.grad for parameter in spatial.parameters()]
    spatial.zero_grad()
    for sample in range(2):
        (spatial(*(value[sample : sample + 1] for value in given)).square().mean() / 2).backward()
    for parameter, gradient in zip(spatial.parameters(), whole, strict=True):
        if gradient is not None:
            assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["spatial", "temporal"])
def test_bfloat16_runs_forward_and_backward(name, request, generator):
    animator = copy.deepcopy(request.getfixturevalue(name)).to(torch.bfloat16)
    given = inputs(generator)
    exact = request.getfixturevalue(name)(*given)
    noisy, timesteps, *rest = given
    found = animator(noisy.bfloat16(), timesteps, *(value.bfloat16() for value in rest))
    found.float().square().mean().backward()
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).norm() < 0.05 * exact.norm()


def test_every_spatial_attention_of_the_denoiser_has_our_processor(temporal):
    ours = {key for key, value in temporal.unet.attn_processors.items() if isinstance(value, ReferenceAttention)}
    assert ours == {key for key in temporal.unet.attn_processors if ".attentions." in key}
    assert any(".motion_modules." in key for key in temporal.unet.attn_processors)


def test_the_attention_switch_names_what_is_wrong():
    with pytest.raises(ValueError, match="sdpa or xformers, not 'flash'"):
        attention_function("flash")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"xformers .* use sdpa"):
            attention_function("xformers")
