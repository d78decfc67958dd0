"""The weight files of stages: one safetensors file for each part of the animator that was trained."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from hia.config import Config
from hia.models.animator import Animator
from hia.models.build import build_animator
from hia.models.parts import load_part
from hia.weights.load import load_state


def load_animator(config: Config, weights: Sequence[str | Path], motion: bool) -> Animator:
    """Load the animator with the weights of the stages so far; later folders replace parts of earlier ones.

    Raises ValueError or OSError naming a file that is damaged or does not fit the configuration.
    """
    animator, _ = build_animator(config, motion)
    for folder in weights:
        for file in sorted(Path(folder).glob("*.safetensors")):
            if motion or file.stem != "motion":
                load_part(animator, file.stem, load_state(file), str(file))
    return animator


def write_weights(folder: Path, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write one file per part; the folder appears complete or not at all."""
    aside = folder.with_name(f".{folder.name}.partial")
    aside.mkdir(parents=True, exist_ok=True)
    for part, tensors in parts.items():
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside / f"{part}.safetensors")
        (aside / f"{part}.safetensors").chmod(0o644)  # written for their owner alone
    if folder.is_dir():  # of an attempt that was killed right after this: the same weights
        for file in aside.iterdir():
            os.replace(file, folder / file.name)
        aside.rmdir()
    else:
        os.rename(aside, folder)


def full_weights(engine: object, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Gather the optimizer's float32 weights on the CPU, unsharded for every ZeRO stage; a collective of all ranks."""
    from deepspeed.utils import safe_get_full_fp32_param

    masters = _unsharded_masters(engine)
    whole = {}
    for name, parameter in parameters.items():
        sharded = hasattr(parameter, "_hp_mapping") or hasattr(parameter, "ds_id")
        value = safe_get_full_fp32_param(parameter) if sharded else None
        if value is None:
            value = masters.get(id(parameter), parameter.detach())
        whole[name] = value.detach().float().cpu().clone().view(getattr(parameter, "ds_shape", parameter.shape))
    return whole


def _unsharded_masters(engine: object) -> dict[int, Tensor]:
    """float32 masters of bf16 weights without ZeRO, by the id of the weight."""
    optimizer = getattr(engine, "optimizer", None)
    halves, masters = getattr(optimizer, "fp16_groups", None), getattr(optimizer, "fp32_groups", None)
    if not halves or not masters or not isinstance(masters[0], list):
        return {}
    return {id(h): m for half, master in zip(halves, masters, strict=True) for h, m in zip(half, master, strict=True)}
