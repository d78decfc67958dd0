"""The guided predictor: equal to the plain computation, and nothing computed twice."""

import itertools
from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from hia.animation.guided_predictor import GuidedPredictor
from hia.config import SamplingConfig
from hia.diffusion.sampler import sample_latents
from hia.diffusion.schedule import NoiseSchedule
from hia.models.build import build_animator

FRAMES = 9


class Plain:
    """The same prediction the long way: whole model on both halves, everything anew for every window."""

    def __init__(self, animator, reference, token, control, guidance, scale):
        self.animator, self.reference, self.token = animator, reference[None], token[None]
        self.control, self.guidance, self.scale = control, guidance, scale

    def __call__(self, latents, timestep, windows):
        predictions = []
        for clip, window in zip(latents, windows, strict=True):
            given = (clip[None], timestep.expand(1), self.reference, self.control(list(window))[None], self.token)
            conditional = self.animator(*given)
            if self.guidance == "animation":
                null = self.animator(*given, keep=torch.tensor([False]))
            elif self.guidance == "reference":
                residuals = self.animator.control_residuals(
                    clip, timestep.expand(len(clip)), given[3][0], self.token.expand(len(clip), -1, -1)
                )
                null = self.animator.denoise(
                    clip[None], timestep.expand(1), torch.zeros_like(self.token), None, residuals
                )
            else:
                null = conditional
            predictions.append((null + self.scale * (conditional - null))[0])
        return torch.stack(predictions)


@pytest.fixture
def setting(tiny_config, as_if_trained, generator):
    animator, _ = build_animator(tiny_config(), motion=True)
    controls = torch.rand(FRAMES, 6, 48, 32, generator=generator)
    reference, token = torch.randn(48, 12, 8, generator=generator), torch.randn(1, 16, generator=generator)
    return as_if_trained(animator).eval(), reference, token, lambda frames: controls[list(frames)]


def run(predict, reference, window_batch=1, scheduler="DDIMScheduler"):
    sampling = SamplingConfig(steps=3, window=4, overlap=1, window_batch=window_batch, scheduler=scheduler)
    return sample_latents(predict, reference, FRAMES, NoiseSchedule(0.571), sampling, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("guidance", ["none", "reference", "animation"])
@pytest.mark.parametrize("window_batch", [1, 3])
@torch.no_grad()
def test_it_equals_the_plain_computation(setting, guidance, window_batch):
    animator, reference, token, control = setting
    lean = run(GuidedPredictor(animator, reference, token, control, guidance, 3.5), reference, window_batch)
    plain = run(Plain(animator, reference, token, control, guidance, 3.5), reference)
    assert_close(lean, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("guidance", ["none", "animation"])
@torch.no_grad()
def test_cached_keys_and_values_equal_uncached_ones(setting, guidance, generator):
    animator, reference, token, control = setting
    windows = [range(0, 4), range(3, 7)]
    clip = torch.randn(7, 48, 12, 8, generator=generator)
    given = (torch.stack([clip[:4], clip[3:]]), torch.tensor(400), windows)
    lean = GuidedPredictor(animator, reference, token, control, guidance, 2.0)
    assert_close(lean(*given), Plain(animator, reference, token, control, guidance, 2.0)(*given), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_schedulers_that_evaluate_a_timestep_twice_get_fresh_control(setting):
    """Heun's second evaluation has the timestep of the next first one, but other latents."""
    animator, reference, token, control = setting
    lean = run(GuidedPredictor(animator, reference, token, control), reference, scheduler="HeunDiscreteScheduler")
    plain = run(
        Plain(animator, reference, token, control, "animation", 3.5), reference, scheduler="HeunDiscreteScheduler"
    )
    assert_close(lean, plain, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_guidance_changes_the_result_and_a_scale_of_one_does_not(setting):
    animator, reference, token, control = setting

    def sampled(guidance, scale):
        return run(GuidedPredictor(animator, reference, token, control, guidance, scale), reference)

    none = sampled("none", 3.5)
    assert_close(sampled("animation", 1.0), none, rtol=0, atol=0)
    results = [none, sampled("animation", 3.5), sampled("reference", 3.5)]
    assert all((one - other).abs().max() > 1e-3 for one, other in itertools.combinations(results, 2))


@torch.no_grad()
def test_controlnet_runs_once_per_frame_and_step_and_the_reference_once_per_clip(setting, monkeypatch):
    animator, reference, token, control = setting
    calls = Counter()

    def counting(module, name, frames):
        module.register_forward_hook(lambda _module, inputs, _output: calls.update({name: frames(inputs)}))

    counting(animator.controlnet, "control frames", lambda inputs: len(inputs[0]))
    counting(animator.appearance_encoder, "reference", lambda inputs: 1)
    run(GuidedPredictor(animator, reference, token, control), reference)
    assert calls == {"control frames": 3 * FRAMES, "reference": 1}


@torch.no_grad()
def test_residuals_are_kept_for_no_more_than_a_window(setting):
    animator, reference, token, control = setting
    predictor = GuidedPredictor(animator, reference, token, control)
    held = []
    original = predictor._residuals.gather

    def gather(frames):
        tensors = [tensor for kept in predictor._residuals._by_frame.values() for tensor in kept]
        stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        held.append(
            (sum(stored.values()), sum(tensor.nbytes for tensor in tensors) / len(predictor._residuals._by_frame))
        )
        return original(frames)

    predictor._residuals.gather = gather
    run(predictor, reference)
    assert all(stored <= 4 * one_frame for stored, one_frame in held)
