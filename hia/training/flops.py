"""Floating-point operations of a training step, counted on the real modules."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# Dense bf16 peak in TFLOP/s by a part of the device's name, from the vendors' data sheets.
PEAKS = {
    **{"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0, "A800": 312.0, "H800": 989.0},
    **{"L40S": 362.0, "L40": 181.0, "L4": 121.0, "A10G": 70.0, "A10": 125.0, "A6000": 155.0, "RTX 4090": 165.0},
}

MOTION = ".motion_modules."


def training_flops(model: nn.Module, forward: Callable[[], Any]) -> float:
    """FLOPs of one forward and backward pass, without the recomputation of checkpointing.

    forward: runs the model once on a batch. The backward pass costs twice the forward one where weights are trained,
    once where gradients only flow through (the denoiser's frozen layers), nothing elsewhere.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward()
    counts = counter.get_flop_counts()
    total = 0.0
    for name, network in _networks(model).items():
        flops = _under(counts, name)
        moving = sum(_under(counts, f"{name}.{part}") for part, _ in network.named_modules() if _is_motion(part))
        trained = {kind: False for kind in (True, False)}
        for key, parameter in network.named_parameters():
            trained[MOTION in key] |= parameter.requires_grad
        flows = name.endswith("unet") and any(p.requires_grad for p in model.parameters())
        total += (flops - moving) * _passes(trained[False], flows) + moving * _passes(trained[True], flows)
    return total


def peak_teraflops(device: torch.device) -> float | None:
    """The device's dense bf16 peak in TFLOP/s, None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def _networks(model: nn.Module) -> dict[str, nn.Module]:
    names = ("appearance_encoder", "controlnet", "pose_guider", "unet")
    return {name: network for name in names if (network := getattr(model, name)) is not None}


def _is_motion(name: str) -> bool:
    """Check whether a name is that of a motion module itself, not of a part of one."""
    head, _, tail = f".{name}".rpartition(MOTION)
    return bool(head) and "." not in tail


def _passes(trained: bool, flows: bool) -> int:
    return 3 if trained else 2 if flows else 1


def _under(counts: dict[str, dict[Any, int]], name: str) -> float:
    """FLOPs of the module whose name ends so; the counter puts the model's class in front."""
    found = [sum(by_operator.values()) for key, by_operator in counts.items() if key.partition(".")[2] == name]
    return float(sum(found))
