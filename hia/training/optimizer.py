"""The optimizer of a stage, its learning rate, and the moving average of the weights."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hia.config import OptimizerConfig, Stage


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig, stage: Stage) -> torch.optim.AdamW:
    """AdamW over one group, at the stage's full learning rate."""
    return torch.optim.AdamW(
        list(parameters),
        lr=stage.learning_rate or config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def learning_rate_factor(step: int, config: OptimizerConfig, iterations: int) -> float:
    """Share of the full learning rate in step 0, 1, … of a stage: linear warm-up, then constant or a half cosine.

    The warm-up takes at most a tenth of the iterations, so that short stages reach the full rate too.
    """
    warmup = min(config.warmup_steps, iterations // 10)
    if step < warmup:
        return (step + 1) / warmup
    if config.decay == "constant":
        return 1.0
    gone = min(1.0, (step - warmup) / max(1, iterations - warmup))
    return config.final_share + (1 - config.final_share) * (1 + math.cos(math.pi * gone)) / 2


class MovingAverage:
    """Exponential moving average of weights in float32; at first it forgets faster, so that short runs gain too."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.weights = {name: parameter.detach().float().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Update the averages with the weights after `step` optimizer steps (1, 2, …)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = list(self.weights.values())
        current = [parameters[name].detach().float() for name in self.weights]
        torch._foreach_lerp_(averages, current, 1 - decay)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Restore saved averages."""
        for name, average in self.weights.items():
            average.copy_(weights[name])
