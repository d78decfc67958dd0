"""The animator's weights by part, under names that do not depend on how it is wrapped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hia.models.animator import Animator

# What checkpointing of activations puts into the names of parameters.
WRAPPER = "_checkpoint_wrapped_module."


def part_parameters(animator: Animator, part: str) -> dict[str, nn.Parameter]:
    """The trainable weights of a part (see `Animator.part`) by name. Raises ValueError for a part that it lacks."""
    wanted = {id(parameter) for parameter in animator.part(part)}
    return {name: p for name, p in all_parameters(animator).items() if id(p) in wanted}


def all_parameters(animator: nn.Module) -> dict[str, nn.Parameter]:
    """Every weight by name."""
    return {name.replace(WRAPPER, ""): parameter for name, parameter in animator.named_parameters()}


@torch.no_grad()
def load_part(animator: Animator, part: str, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy a part's weights into the animator; all of them must be there, in the right shapes.

    Raises ValueError naming `source` and what does not fit.
    """
    parameters = part_parameters(animator, part)
    missing, unknown = parameters.keys() - weights.keys(), weights.keys() - parameters.keys()
    if missing or unknown:
        strange = sorted(missing or unknown)
        kind = "missing" if missing else "unknown"
        raise ValueError(f"{source}: these are not this network's weights; {kind}: {', '.join(strange[:4])} …")
    for name, parameter in parameters.items():
        if parameter.shape != weights[name].shape:
            raise ValueError(
                f"{source}: {name} has the shape {tuple(weights[name].shape)}, the network's {tuple(parameter.shape)}"
            )
        parameter.copy_(weights[name])


@dataclass(frozen=True)
class LoadReport:
    """Report of the source of each module's weights: every key is either loaded or listed as new."""

    loaded: dict[str, str] = field(default_factory=dict)
    new: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{module}: from {source}" for module, source in self.loaded.items()]
        for module, keys in self.new.items():
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            lines.append(f"{module}: new {shown}")
        return "\n".join(lines)
