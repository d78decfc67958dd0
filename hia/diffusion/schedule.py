"""The noise schedule with shifted signal-to-noise ratio (paper sec. 3.3, Algorithm 1)."""

import inspect
import warnings
from dataclasses import asdict
from typing import Any

import diffusers
import torch
from torch import Tensor

from hia.config import Config

# They take our β, but DDIM inversion does not denoise, and those of CogVideoX change the schedule that they are given.
UNUSABLE_SCHEDULERS = ("Inverse", "CogVideoX")

PREDICTION_TYPES = ("epsilon", "v_prediction")

# Below this factor the one-step estimate of the regional stage (t ≤ 124) starts from more noise than signal.
NOISY_REGIONAL_GAMMA = 0.25


class NoiseSchedule:
    """β and ᾱ whose signal-to-noise ratio is γ times that of the default schedule at every timestep.

    ᾱ' = γᾱ / (γᾱ + 1 − ᾱ), so SNR' = ᾱ' / (1 − ᾱ') = γ·SNR; β'₀ = 1 − ᾱ'₀ and β'ₜ = 1 − ᾱ'ₜ / ᾱ'ₜ₋₁, so that
    cumprod(1 − β') = ᾱ'. γ = 1 is the default schedule.

    zero_terminal_snr: √ᾱ' is then shifted and scaled so that nothing of the signal is left at the last timestep, and
    the first one stays (Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, Algorithm 1).

    alphas_cumprod, betas: float64 [num_train_timesteps].
    Raises ValueError for γ outside (0, 1], for unknown β schedules or prediction types, and for a zero terminal SNR
    with epsilon: there, at the last timestep, ε says nothing of x₀.
    """

    def __init__(
        self,
        gamma: float,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "linear",
        prediction_type: str = "epsilon",
        zero_terminal_snr: bool = False,
    ) -> None:
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], not {gamma}")
        if prediction_type not in PREDICTION_TYPES:
            raise ValueError(f"prediction_type must be one of {', '.join(PREDICTION_TYPES)}, not {prediction_type!r}")
        if zero_terminal_snr and prediction_type != "v_prediction":
            raise ValueError(f"zero_terminal_snr needs prediction_type v_prediction, not {prediction_type}")
        if gamma < NOISY_REGIONAL_GAMMA:
            warnings.warn(
                f"gamma {gamma} is below {NOISY_REGIONAL_GAMMA}: at t = 124 noise exceeds signal, so the regional "
                "stage compares unclear images",
                stacklevel=2,
            )
        self.gamma = float(gamma)
        self.num_train_timesteps = num_train_timesteps
        self.prediction_type = prediction_type
        self.zero_terminal_snr = zero_terminal_snr
        unshifted = torch.cumprod(1 - _betas(num_train_timesteps, beta_start, beta_end, beta_schedule), dim=0)
        shifted = gamma * unshifted / (gamma * unshifted + 1 - unshifted)
        self.alphas_cumprod = _without_terminal_signal(shifted) if zero_terminal_snr else shifted
        previous = torch.cat([torch.ones(1, dtype=torch.float64), self.alphas_cumprod[:-1]])
        self.betas = 1 - self.alphas_cumprod / previous

    @classmethod
    def of(cls, config: Config) -> "NoiseSchedule":
        """The schedule of a configuration: for training, inference and checks alike."""
        return cls(**(asdict(config.schedule) | {"gamma": config.gamma}))

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """xₜ = √ᾱₜ·x₀ + √(1 − ᾱₜ)·ε.   latents, noise [B, ...]; timesteps int [B]."""
        signal, sigma = self._scales(timesteps, latents)
        return signal * latents + sigma * noise

    def predict_clean(self, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
        """x'₀ in one step from xₜ and the prediction (sec. 3.3).   noisy, prediction [B, ...]; timesteps [B]."""
        signal, sigma = self._scales(timesteps, noisy)
        if self.prediction_type == "v_prediction":
            return signal * noisy - sigma * prediction
        return (noisy - sigma * prediction) / signal

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The target of the model's prediction: ε, or v = √ᾱ·ε − √(1 − ᾱ)·x₀.   All [B, ...]; timesteps [B]."""
        if self.prediction_type == "epsilon":
            return noise
        signal, sigma = self._scales(timesteps, latents)
        return signal * noise - sigma * latents

    def scheduler(self, name: str = "DDIMScheduler") -> Any:
        """A diffusers scheduler on these β, spaced *trailing* so that its first timestep is the last one trained.

        Raises ValueError when diffusers has no such scheduler, or it cannot take our β or prediction type.
        """
        scheduler_class: Any = getattr(diffusers, name, None)
        if not (inspect.isclass(scheduler_class) and issubclass(scheduler_class, diffusers.SchedulerMixin)):
            raise ValueError(f"diffusers has no scheduler {name!r}; examples: DDIMScheduler, UniPCMultistepScheduler")
        if any(kind in name for kind in UNUSABLE_SCHEDULERS):
            raise ValueError(f"scheduler {name} cannot be used: it runs backwards, or is made for another schedule")
        accepted = set(inspect.signature(scheduler_class.__init__).parameters)
        wanted = {
            "num_train_timesteps": self.num_train_timesteps,
            "trained_betas": self.betas.tolist(),
            "prediction_type": self.prediction_type,
            "timestep_spacing": "trailing",
        }
        if self.zero_terminal_snr:
            # Our β are rescaled already: again changes nothing, but makes diffusers bound the last, infinite σ.
            wanted["rescale_betas_zero_snr"] = True
        if missing := sorted(set(wanted) - accepted):
            raise ValueError(f"scheduler {name} cannot be used: it does not take {', '.join(missing)}")
        # Latents are no images: clipping them to [−1, 1], which some classes do by default, would be wrong.
        optional = {"clip_sample": False}
        return scheduler_class(**wanted, **{key: value for key, value in optional.items() if key in accepted})

    def _scales(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 − ᾱ), shaped and typed to multiply `like` [B, ...]."""
        # Rooted in float64 before they travel: some devices have no such type.
        tables = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        signal, sigma = (table.to(like)[timesteps.to(like.device)] for table in tables)
        shape = (-1, *[1] * (like.ndim - 1))
        return signal.reshape(shape), sigma.reshape(shape)


def _without_terminal_signal(alphas_cumprod: Tensor) -> Tensor:
    """√ᾱ'ₜ = (√ᾱₜ − √ᾱ_T)·√ᾱ₀ / (√ᾱ₀ − √ᾱ_T): zero at the last timestep T, unchanged at the first.   float64 [≥ 2]"""
    signal = alphas_cumprod.sqrt()
    if len(signal) < 2:
        raise ValueError("zero_terminal_snr needs num_train_timesteps of at least 2: the last one has no signal left")
    return ((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])).square()


def _betas(num_train_timesteps: int, beta_start: float, beta_end: float, beta_schedule: str) -> Tensor:
    """β before the shift, float64 [num_train_timesteps]."""
    if not 0 < beta_start <= beta_end < 1 or num_train_timesteps < 1:
        raise ValueError(
            f"betas need 0 < beta_start ≤ beta_end < 1 and at least one timestep, not beta_start={beta_start}, "
            f"beta_end={beta_end}, num_train_timesteps={num_train_timesteps}"
        )
    if beta_schedule == "linear":
        return torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)
    if beta_schedule == "scaled_linear":
        return torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float64) ** 2
    raise ValueError(f"beta_schedule must be linear or scaled_linear, not {beta_schedule!r}")
