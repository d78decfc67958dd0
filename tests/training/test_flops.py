"""FLOPs of a training step: twice the multiply-adds, three times where weights are trained."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hia.models.build import build_animator
from hia.training.flops import training_flops
from hia.training.step import generator_for

PARTS = ("appearance_encoder", "controlnet", "unet")


@pytest.fixture
def call(tiny_config):
    config = tiny_config()
    channels, (width, height) = config.codec.latent_channels, (8, 12)
    generator = torch.Generator().manual_seed(0)

    def run(animator, frames=2):
        latents = torch.randn(1, frames, channels, height, width, generator=generator)
        control = torch.zeros(1, frames, 6, 48, 32)
        return lambda: animator(latents, torch.tensor([3]), latents[:, 0], control, torch.zeros(1, 1, 16))

    return run


def counted(forward, backward=False) -> int:
    with FlopCounterMode(display=False) as counter:
        result = forward()
        if backward:
            result.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("parts", [PARTS, ("appearance_encoder",)])
def test_it_agrees_with_a_counted_backward_pass(tiny_config, call, parts):
    animator, _ = build_animator(tiny_config())
    animator.train_only(parts)
    forward = call(animator)
    assert training_flops(animator, forward) == pytest.approx(counted(forward, backward=True), rel=0.12)


def test_motion_layers_are_trained_while_gradients_flow_through_the_rest(tiny_config, call):
    animator, _ = build_animator(tiny_config(), motion=True)
    animator.train_only(["motion"])
    forward = call(animator, frames=4)
    flops, once = training_flops(animator, forward), counted(forward)
    assert once < flops < 3 * once
    assert flops == pytest.approx(counted(forward, backward=True), rel=0.15)


def test_each_place_has_random_numbers_of_its_own():
    draws = {
        place: float(torch.rand(1, generator=generator_for(*place)))
        for place in [(0, "spatial", 0), (0, "spatial", 1), (0, "regional", 0), (1, "spatial", 0)]
    }
    assert len(set(draws.values())) == 4
    assert float(torch.rand(1, generator=generator_for(0, "spatial", 1))) == draws[0, "spatial", 1]
