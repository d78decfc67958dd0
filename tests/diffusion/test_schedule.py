"""The noise schedule: an exact shift of the signal-to-noise ratio (Algorithm 1)."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.diffusion.schedule import NoiseSchedule

gammas = st.floats(0.25, 1.0)


def snr(alphas_cumprod):
    return alphas_cumprod / (1 - alphas_cumprod)


def default_alphas_cumprod():
    """The unshifted schedule, written out independently."""
    return np.cumprod(1 - np.linspace(0.00085, 0.012, 1000))


@settings(deadline=None)
@given(gammas)
def test_the_ratio_of_snr_is_gamma_at_every_timestep(gamma):
    shifted = NoiseSchedule(gamma).alphas_cumprod.numpy()
    assert np.abs(snr(shifted) / snr(default_alphas_cumprod()) / gamma - 1).max() < 1e-9


@settings(deadline=None)
@given(gammas)
def test_the_betas_multiply_up_to_alphas_cumprod(gamma):
    schedule = NoiseSchedule(gamma)
    assert schedule.betas.dtype == schedule.alphas_cumprod.dtype == torch.float64
    assert (np.cumprod(1 - schedule.betas.numpy()) - schedule.alphas_cumprod.numpy()).__abs__().max() < 1e-12
    assert ((schedule.betas > 0) & (schedule.betas < 1)).all()


def test_gamma_one_is_diffusers_linear_schedule():
    ours, theirs = (
        NoiseSchedule(1.0),
        DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear"),
    )
    torch.testing.assert_close(ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ours.betas.float(), theirs.betas, rtol=1e-6, atol=0)


def test_algorithm_1_with_its_indices_put_right():
    """The algorithm's own steps, in numpy: linear β, cumulative product, γ·SNR, back to β."""
    gamma = 0.571
    ratio = gamma * snr(default_alphas_cumprod())
    shifted = ratio / (1 + ratio)
    betas = np.concatenate([[1 - shifted[0]], 1 - shifted[1:] / shifted[:-1]])
    np.testing.assert_allclose(NoiseSchedule(gamma).betas.numpy(), betas, rtol=1e-9)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_the_clean_latents(prediction_type):
    schedule = NoiseSchedule(0.5, prediction_type=prediction_type)
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    timesteps = torch.tensor([0, 1, 124, 500, 998, 999])
    noisy = schedule.add_noise(latents, noise, timesteps)
    perfect = schedule.target(latents, noise, timesteps)
    torch.testing.assert_close(schedule.predict_clean(noisy, perfect, timesteps), latents, rtol=1e-9, atol=1e-9)


def test_noise_is_added_as_diffusers_adds_it():
    schedule = NoiseSchedule(0.5)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([3, 400, 999])
    theirs = schedule.scheduler().add_noise(latents, noise, timesteps)
    torch.testing.assert_close(schedule.add_noise(latents, noise, timesteps), theirs, rtol=1e-4, atol=1e-4)


def test_half_precision_latents_stay_half_precision():
    latents = torch.zeros(1, 4, 2, 2, dtype=torch.bfloat16)
    assert NoiseSchedule(1.0).add_noise(latents, latents, torch.tensor([5])).dtype == torch.bfloat16


@pytest.mark.parametrize("gamma", [0.0, -0.5, 1.0001, float("nan"), float("inf")])
def test_gamma_outside_its_range_is_refused(gamma):
    with pytest.raises(ValueError, match="gamma"):
        NoiseSchedule(gamma)


def test_a_gamma_that_drowns_the_regional_stage_warns():
    with pytest.warns(UserWarning, match="t = 124"):
        schedule = NoiseSchedule(0.2)
    assert snr(schedule.alphas_cumprod)[124] < 1 < snr(NoiseSchedule(0.25).alphas_cumprod)[124]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"prediction_type": "sample"}, "prediction_type"),
        ({"beta_schedule": "cosine"}, "beta_schedule"),
        ({"beta_start": 0.02}, "beta_start"),
    ],
)
def test_unknown_settings_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        NoiseSchedule(0.5, **arguments)


@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"],
)
def test_diffusers_schedulers_start_at_the_last_timestep_with_our_noise_level(name):
    schedule = NoiseSchedule(0.5)
    scheduler = schedule.scheduler(name)
    scheduler.set_timesteps(25)
    assert scheduler.timesteps[0] == 999 and len(scheduler.timesteps) == 25
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), schedule.alphas_cumprod, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["FlowMatchEulerDiscreteScheduler", "UNet2DConditionModel", "NoSuchScheduler", "DDIMInverseScheduler"]
)
def test_schedulers_that_cannot_be_used_are_refused_by_name(name):
    with pytest.raises(ValueError, match=name):
        NoiseSchedule(0.5).scheduler(name)


@settings(deadline=None)
@given(gammas, st.sampled_from(["linear", "scaled_linear"]))
def test_zero_terminal_snr_keeps_the_first_timestep_and_the_proportions_of_the_signal(gamma, beta_schedule):
    """Lin et al. 2024: √ᾱ is a straight line of what it was, through √ᾱ₀ unchanged and zero at the end."""
    arguments = {"beta_schedule": beta_schedule, "prediction_type": "v_prediction"}
    before = np.sqrt(NoiseSchedule(gamma, **arguments).alphas_cumprod.numpy())
    after = np.sqrt(NoiseSchedule(gamma, **arguments, zero_terminal_snr=True).alphas_cumprod.numpy())
    assert after[-1] == 0 and after[0] == pytest.approx(before[0], rel=1e-12)
    assert np.abs(np.interp(before[::-1], [before[-1], before[0]], [0, before[0]]) - after[::-1]).max() < 1e-12
    assert (np.diff(after) < 0).all()


def test_the_published_algorithm_gives_the_same_betas():
    """Algorithm 1 of Lin et al. 2024 step by step on the default schedule's β, in numpy."""
    signal = np.sqrt(default_alphas_cumprod())
    first, last = signal[0], signal[-1]
    signal = (signal - last) * first / (first - last)
    squared = signal**2
    alphas = np.concatenate([squared[:1], squared[1:] / squared[:-1]])
    ours = NoiseSchedule(1.0, prediction_type="v_prediction", zero_terminal_snr=True)
    np.testing.assert_allclose(ours.betas.numpy(), 1 - alphas, rtol=1e-9)
    assert ours.betas[-1] == 1


@pytest.mark.parametrize("timestep", [0, 500, 998, 999])
def test_without_terminal_signal_a_perfect_prediction_still_gives_the_clean_latents(timestep):
    schedule = NoiseSchedule(0.5, prediction_type="v_prediction", zero_terminal_snr=True)
    latents, noise = torch.randn(2, 1, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    timesteps = torch.tensor([timestep])
    noisy = schedule.add_noise(latents, noise, timesteps)
    perfect = schedule.target(latents, noise, timesteps)
    torch.testing.assert_close(schedule.predict_clean(noisy, perfect, timesteps), latents, rtol=1e-9, atol=1e-9)
    if timestep == 999:
        assert torch.equal(noisy, noise), "nothing of the signal is left"


def test_epsilon_cannot_be_predicted_without_terminal_signal():
    with pytest.raises(ValueError, match="zero_terminal_snr needs prediction_type v_prediction"):
        NoiseSchedule(1.0, zero_terminal_snr=True)


@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"],
)
def test_schedulers_sample_from_pure_noise_to_the_clean_latents(name):
    """From t = 999 without signal, trailing; a perfect prediction leads to the clean latents."""
    schedule = NoiseSchedule(0.6, prediction_type="v_prediction", zero_terminal_snr=True)
    scheduler = schedule.scheduler(name)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[0] == 999
    assert (scheduler.alphas_cumprod.double() - schedule.alphas_cumprod).abs().max() < 1e-6
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        signal = schedule.alphas_cumprod[int(timestep)].sqrt().float()
        perfect = (signal * scaled - clean) / (1 - signal**2).sqrt()
        latents = scheduler.step(perfect, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean, rtol=0, atol=2e-2)


def test_a_scheduler_that_would_divide_by_the_missing_signal_is_refused():
    schedule = NoiseSchedule(1.0, prediction_type="v_prediction", zero_terminal_snr=True)
    with pytest.raises(ValueError, match=r"HeunDiscreteScheduler .* rescale_betas_zero_snr"):
        schedule.scheduler("HeunDiscreteScheduler")
