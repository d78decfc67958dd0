"""The sampler, driven by an oracle that knows the clean latents."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.config import SamplingConfig
from hia.diffusion.sampler import average_over_windows, initial_latents, sample_latents
from hia.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule(0.571)
SHAPE = (4, 3, 2)


class Oracle:
    """Predicts the noise exactly, and records which windows it was asked for."""

    def __init__(self, clean, schedule=SCHEDULE):
        self.clean, self.schedule = clean, schedule
        self.calls = []

    def __call__(self, latents, timestep, windows):
        self.calls.append((int(timestep), list(windows)))
        clean = torch.stack([self.clean[window.start : window.stop] for window in windows])
        alpha = self.schedule.alphas_cumprod[int(timestep)].float()
        noise = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        if self.schedule.prediction_type == "v_prediction":
            return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return noise


def clip(num_frames, seed=0):
    return torch.randn(num_frames, *SHAPE, generator=torch.Generator().manual_seed(seed))


def run(predict, num_frames, sampling, seed=0, schedule=SCHEDULE, on_step=None):
    reference = clip(1, seed=99)[0]
    return sample_latents(
        predict, reference, num_frames, schedule, sampling, torch.Generator().manual_seed(seed), on_step
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.integers(1, 16), st.integers(0, 15), st.integers(1, 5))
def test_ddim_with_a_perfect_predictor_returns_the_clean_latents(num_frames, window, overlap, window_batch):
    sampling = SamplingConfig(steps=3, window=window, overlap=min(overlap, window - 1), window_batch=window_batch)
    clean = clip(num_frames)
    torch.testing.assert_close(run(Oracle(clean), num_frames, sampling), clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "scheduler",
    [
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "DDPMScheduler",
    ],
)
def test_other_schedulers_arrive_too(scheduler):
    clean = clip(20)
    sampling = SamplingConfig(steps=10, window=8, overlap=2, scheduler=scheduler)
    torch.testing.assert_close(run(Oracle(clean), 20, sampling), clean, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
def test_gaussian_data_come_back_with_their_own_variance(deviation):
    """Latents of N(0, s²) have the exact predictor E[ε | x] = σ·x / (ᾱs² + σ²): many steps must restore s."""

    def predict(latents, timestep, windows):
        alpha = SCHEDULE.alphas_cumprod[int(timestep)].float()
        return (1 - alpha).sqrt() * latents / (alpha * deviation**2 + 1 - alpha)

    sampling = SamplingConfig(steps=500, window=16, overlap=4)
    generator = torch.Generator().manual_seed(0)
    found = sample_latents(predict, torch.zeros(4, 8, 8), 64, SCHEDULE, sampling, generator)
    assert float(found.std()) == pytest.approx(deviation, rel=0.02)


def test_v_prediction_arrives_too():
    schedule = NoiseSchedule(0.571, prediction_type="v_prediction")
    clean = clip(20)
    found = run(Oracle(clean, schedule), 20, SamplingConfig(steps=5, window=8, overlap=2), schedule=schedule)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-3)


def test_every_frame_is_covered_in_every_step_and_the_windows_move():
    oracle = Oracle(clip(50))
    run(oracle, 50, SamplingConfig(steps=12, window=8, overlap=2))
    layouts = []
    for _, calls in itertools.groupby(oracle.calls, key=lambda call: call[0]):
        windows = [window for _, batch in calls for window in batch]
        assert {frame for window in windows for frame in window} == set(range(50))
        layouts.append(tuple(window.start for window in windows))
    assert len(layouts) == 12 and len(set(layouts)) > 2


def test_overlapping_windows_are_averaged():
    def predict(latents, timestep, windows):
        starts = torch.tensor([float(window.start) for window in windows])
        return starts.reshape(-1, 1, 1, 1, 1).expand_as(latents)

    windows = [range(0, 4), range(3, 7), range(5, 9)]
    for window_batch in (1, 2, 3):
        mean = average_over_windows(predict, torch.zeros(9, *SHAPE), torch.tensor(5), windows, window_batch)
        expected = torch.tensor([0, 0, 0, 1.5, 3, 4, 4, 5, 5])
        torch.testing.assert_close(mean, expected.reshape(-1, 1, 1, 1).expand_as(mean))


def test_without_prompt_travel_the_windows_stay():
    oracle = Oracle(clip(50))
    run(oracle, 50, SamplingConfig(steps=5, window=8, overlap=2, shift_windows=False))
    layouts = {
        tuple(window.start for _, batch in calls for window in batch)
        for _, calls in itertools.groupby(oracle.calls, key=lambda call: call[0])
    }
    assert len(layouts) == 1


def test_the_starting_noise_is_the_diffused_reference():
    scheduler = SCHEDULE.scheduler()
    scheduler.set_timesteps(25)
    reference = 3 * clip(1)[0]
    start = initial_latents(reference, 20_000, scheduler, "reference", torch.Generator().manual_seed(0))
    alpha = SCHEDULE.alphas_cumprod[999].float()
    torch.testing.assert_close(start.mean(dim=0), alpha.sqrt() * reference, rtol=0, atol=0.03)
    torch.testing.assert_close(start.var(dim=0), (1 - alpha).expand(SHAPE), rtol=0.05, atol=0)
    correlation = torch.corrcoef(start[:2].flatten(1) - alpha.sqrt() * reference.flatten())
    assert abs(correlation[0, 1]) < 0.8, "each frame has noise of its own"


def test_gaussian_start_forgets_the_reference():
    scheduler = SCHEDULE.scheduler()
    scheduler.set_timesteps(25)
    one, other = (
        initial_latents(reference, 5, scheduler, "gaussian", torch.Generator().manual_seed(0))
        for reference in (clip(1)[0], 5 + clip(1)[0])
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerAncestralDiscreteScheduler"])
def test_the_seed_decides_and_the_window_batch_does_not(scheduler):
    def predict(latents, timestep, windows):
        return 0.1 * latents + 0.01 * torch.tensor([window.start for window in windows]).reshape(-1, 1, 1, 1, 1)

    sampling = SamplingConfig(steps=4, window=6, overlap=2, scheduler=scheduler)
    first, again = run(predict, 30, sampling, seed=7), run(predict, 30, sampling, seed=7)
    batched = run(predict, 30, replace(sampling, window_batch=4), seed=7)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    torch.testing.assert_close(first, batched, rtol=1e-5, atol=1e-5)
    assert (first - run(predict, 30, sampling, seed=8)).abs().max() > 0.1


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_every_step_reports_an_estimate_of_the_clean_latents(scheduler):
    clean, reports = clip(10), []
    sampling = SamplingConfig(steps=4, window=8, overlap=2, scheduler=scheduler)
    run(
        Oracle(clean),
        10,
        sampling,
        on_step=lambda step, steps, estimate: reports.append((step, steps, estimate)),
    )
    assert [step for step, _, _ in reports] == list(range(1, reports[0][1] + 1))
    for _, _, estimate in reports:
        torch.testing.assert_close(estimate, clean, rtol=1e-2, atol=1e-2)
