"""The memory check of training, made before work starts."""

from dataclasses import replace

import psutil
import torch

from hia.config import Config, PretrainedConfig, Stage
from hia.models.animator import Animator
from hia.models.build import build_animator

GIB = 2**30
# Bytes of a float32 gradient, of Adam's two moments, and of the master weight that ZeRO and bf16 keep besides. ZeRO
# shares out the latter two from stage 1 on, the gradient from stage 2 on.
GRADIENT, MOMENTS, MASTER = 4, 8, 4


def check(config: Config) -> None:
    """Raises ValueError when weights, gradients and optimizer alone exceed the memory of this machine, or of its GPU.

    Activations come on top: what passes may still be too large. Workers on other machines are not looked at: with
    GPUs, only the one that this process sees; without, all workers are taken to be here.
    """
    animator = _without_memory(config)
    training = config.training
    needs = {stage.name: _bytes(animator, stage, config) for stage in config.stages.in_order()}
    if not needs:
        return
    stage = max(needs, key=lambda name: needs[name])
    if training.gpus_per_worker:
        if torch.cuda.is_available():
            has = torch.cuda.get_device_properties(0).total_memory
            _compare(stage, needs[stage], has, "the GPU", "use more workers, a higher training.zero_stage")
        return
    has = psutil.virtual_memory().total
    together = f"{training.workers} workers together" if training.workers > 1 else "one worker"
    _compare(stage, needs[stage] * training.workers, has, f"this machine for {together}", "use a smaller preset")


def _compare(stage: str, needs: float, has: float, where: str, advice: str) -> None:
    if needs > has:
        raise ValueError(
            f"stage {stage} does not fit: weights, gradients and optimizer need {needs / GIB:.1f} GiB of {where}, "
            f"which has {has / GIB:.1f} GiB; {advice}, or smaller networks (network.block_out_channels)"
        )


def _without_memory(config: Config) -> Animator:
    bare = replace(config, pretrained=PretrainedConfig(image_encoder=None))
    motion = any("motion" in stage.trains for stage in config.stages.in_order())
    with torch.device("meta"):
        return build_animator(bare, motion)[0]


def _bytes(animator: Animator, stage: Stage, config: Config) -> float:
    """Least memory of one worker in bytes."""
    training = config.training
    weights = float(sum(parameter.numel() for parameter in animator.parameters()))
    if "motion" not in stage.trains and animator.has_motion:
        weights -= sum(parameter.numel() for parameter in animator.part("motion"))
    trained = sum(parameter.numel() for part in stage.trains for parameter in animator.part(part))
    shared = training.workers
    optimizer: float = MOMENTS + MASTER * (training.zero_stage >= 1 or training.dtype == "bfloat16")
    optimizer *= (not training.offload_optimizer) / (shared if training.zero_stage >= 1 else 1)
    gradient = GRADIENT / (shared if training.zero_stage >= 2 else 1)
    each = 2 if training.dtype == "bfloat16" else 4
    return weights * each / (shared if training.zero_stage == 3 else 1) + trained * (gradient + optimizer)
