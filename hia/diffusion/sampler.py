"""Sampling: from reference noise to the latents of a clip of any length (paper sec. 3.4)."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hia.config import SamplingConfig
from hia.diffusion.schedule import NoiseSchedule
from hia.diffusion.windows import shifted_windows

Predict = Callable[[Tensor, Tensor, Sequence[range]], Tensor]
"""(noisy latents [W, F, C, h, w], timestep scalar, the W windows' frames) → prediction [W, F, C, h, w]."""
OnStep = Callable[[int, int, Tensor], None]
"""(evaluations done, evaluations in all, estimate of the clean latents [N, C, h, w]): for progress and previews."""


def sample_latents(
    predict: Predict,
    reference_latents: Tensor,
    num_frames: int,
    schedule: NoiseSchedule,
    settings: SamplingConfig,
    generator: torch.Generator,
    on_step: OnStep | None = None,
) -> Tensor:
    """Denoise a clip.   reference_latents [C, h, w] → float32 [num_frames, C, h, w].

    predict: the (guided) prediction for some windows of the clip; each step averages it where windows overlap. The
    windows move by a random offset from step to step. All random numbers come from `generator` in an order that does
    not depend on `window_batch`.
    """
    scheduler = schedule.scheduler(settings.scheduler)
    scheduler.set_timesteps(settings.steps, device=reference_latents.device)
    latents = initial_latents(reference_latents, num_frames, scheduler, settings.initial_noise, generator)
    steps = len(scheduler.timesteps)
    for step, timestep in enumerate(scheduler.timesteps):
        windows = _windows(num_frames, settings, generator)
        scaled = scheduler.scale_model_input(latents, timestep)
        prediction = average_over_windows(predict, scaled, timestep, windows, settings.window_batch)
        latents = scheduler.step(prediction, timestep, latents, **_step_options(scheduler, generator)).prev_sample
        if on_step is not None:
            # `scaled` is in the schedule's own scale for every scheduler; some have timesteps between whole ones.
            on_step(step + 1, steps, schedule.predict_clean(scaled, prediction, timestep.round().long().expand(1)))
    return latents


def initial_latents(
    reference_latents: Tensor, num_frames: int, scheduler: Any, kind: str, generator: torch.Generator
) -> Tensor:
    """Starting latents x_T [num_frames, C, h, w], float32.

    `reference`: the reference's latents diffused to the last timestep, √ᾱ_T·z_ref + √(1 − ᾱ_T)·ε, with noise of its own
    for every frame (initial reference noise); `gaussian`: pure noise. In the scheduler's own scale.
    """
    shape = (num_frames, *reference_latents.shape)
    noise = torch.randn(shape, generator=generator, device=generator.device).to(reference_latents.device)
    if kind == "gaussian":
        return noise * scheduler.init_noise_sigma
    repeated = reference_latents.float().expand(shape)
    return scheduler.add_noise(repeated, noise, scheduler.timesteps[:1].expand(num_frames))


def average_over_windows(
    predict: Predict, latents: Tensor, timestep: Tensor, windows: Sequence[range], window_batch: int
) -> Tensor:
    """Predictions of all windows, averaged where they overlap.   latents [N, C, h, w] → float32 [N, C, h, w]"""
    total = torch.zeros_like(latents, dtype=torch.float32)
    count = torch.zeros(len(latents), 1, 1, 1, device=latents.device)
    for start in range(0, len(windows), window_batch):
        batch = windows[start : start + window_batch]
        stacked = torch.stack([latents[window.start : window.stop] for window in batch])
        for window, prediction in zip(batch, predict(stacked, timestep, batch), strict=True):
            total[window.start : window.stop] += prediction.float()
            count[window.start : window.stop] += 1
    return total / count


def _windows(num_frames: int, settings: SamplingConfig, generator: torch.Generator) -> list[range]:
    """This step's windows. The offset is drawn in any case, so that ablations share their other random numbers."""
    stride = settings.window - settings.overlap
    drawn = int(torch.randint(stride, (), generator=generator, device=generator.device))
    return shifted_windows(num_frames, settings.window, settings.overlap, drawn if settings.shift_windows else 0)


def _step_options(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": generator} if takes_generator else {}
