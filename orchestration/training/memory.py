"""Memory that training needs, compared with the machine's before work starts.

An upper bound of the number of weights, from the configuration alone, shows for small models that they fit. Only where
it does not, the networks are built (without memory for their weights) and counted, which takes seconds to import.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from hia.config import Config, PretrainedConfig, Stage

if TYPE_CHECKING:
    from hia.models.animator import Animator

GIB = 2**30
# Bytes of a float32 gradient, of Adam's two moments, and of the master weight that ZeRO and bf16 keep besides. ZeRO
# shares out the latter two from stage 1 on, the gradient from stage 2 on.
GRADIENT, MOMENTS, MASTER = 4, 8, 4
WEIGHT = 4


def check(config: Config) -> None:
    """Raises ValueError when weights, gradients and optimizer alone exceed the memory of this machine, or of its GPU.

    Activations come on top: what passes may still be too large. Workers on other machines are not considered: with
    GPUs, only the one that this process sees; without, all workers are taken to be here.
    """
    training = config.training
    has = _gpu_bytes() if training.gpus_per_worker else psutil.virtual_memory().total
    workers = 1 if training.gpus_per_worker else training.workers
    if has is None or most_weights(config) * (WEIGHT + GRADIENT + MOMENTS + MASTER) * workers <= has:
        return
    animator = animator_without_memory(config)
    needs = {stage.name: _bytes(animator, stage, config) for stage in config.stages.in_order()}
    if not needs:
        return
    stage = max(needs, key=lambda name: needs[name])
    if training.gpus_per_worker:
        _compare(stage, needs[stage], has, "the GPU", "use more workers, a higher training.zero_stage")
        return
    together = f"{workers} workers together" if workers > 1 else "one worker"
    _compare(stage, needs[stage] * workers, has, f"this machine for {together}", "use a smaller preset")


def most_weights(config: Config) -> int:
    """Upper bound of the number of the animator's weights, without building it.

    As if all levels of the networks had the widest one's channels w and attention, all three networks (appearance
    encoder, pose branch, denoiser) both halves and motion layers, and every layer a skip connection of 2w channels.
    """
    network, latents = config.network, 64
    width, levels = max(network.block_out_channels), len(network.block_out_channels)
    square, line = width * width, width * (network.cross_attention_dim + 64)
    residual = (18 + 9 + 2 + 4) * square  # 3×3 convolutions 2w → w and w → w, 1×1 skip, 4w time channels
    attention = (2 + 4 + 2 + 12) * square + 2 * line  # projections, self- and cross-attention, gated feed-forward
    motion = (2 + 8 + 12) * square  # projections, two temporal attentions, feed-forward
    layers = levels * (2 * network.layers_per_block + 1) + 2
    ends = 2 * levels * 9 * square + 20 * square + 18 * latents * width  # resampling, time embedding, in and out
    zero_convolutions = (levels * (network.layers_per_block + 1) + 1) * 2 * square
    pose_stems = (1 + len(config.conditions.maps)) * (500_000 + 2_500 * width)
    return 3 * (layers * (residual + attention + motion + 2 * line) + ends) + zero_convolutions + pose_stems


def _gpu_bytes() -> int | None:
    """Memory of the GPU that this process sees; None without one."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _compare(stage: str, needs: float, has: float, where: str, advice: str) -> None:
    if needs > has:
        raise ValueError(
            f"stage {stage} does not fit: weights, gradients and optimizer need {needs / GIB:.1f} GiB of {where}, "
            f"which has {has / GIB:.1f} GiB; {advice}, or smaller networks (network.block_out_channels)"
        )


def animator_without_memory(config: Config) -> "Animator":
    import torch

    from hia.models.build import build_animator

    bare = replace(config, pretrained=PretrainedConfig(image_encoder=None))
    motion = any("motion" in stage.trains for stage in config.stages.in_order())
    with torch.device("meta"):
        return build_animator(bare, motion)[0]


def _bytes(animator: "Animator", stage: Stage, config: Config) -> float:
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
