"""Options shared by several commands."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hia.config import SamplingConfig
    from hia.models.animation_model import AnimationModel


def changed_sampling(default: "SamplingConfig", arguments: argparse.Namespace, keys: Sequence[str]) -> "SamplingConfig":
    """Sampling settings, changed by the options of `keys` that were given. Raises ValueError for an invalid value."""
    from pydantic import ValidationError

    from hia.config.loading import explain

    try:
        return replace(default, **{key: value for key in keys if (value := getattr(arguments, key)) is not None})
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def chosen_device(device: str | None) -> str:
    """The device given by the option, else a GPU if there is one."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def to_device(model: "AnimationModel", device: str) -> None:
    """Move a model, on GPUs in bf16. Raises ValueError for a device that cannot be used."""
    import torch

    try:
        model.to(device, torch.bfloat16 if device.startswith("cuda") else None)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device} cannot be used: {str(error).splitlines()[0]}") from None
