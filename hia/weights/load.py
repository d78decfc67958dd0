"""Safe reading of weights: only tensors, all keys accounted for, nothing unpickled."""

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import Self

from hia.console import only_errors_logged
from hia.weights.find import STATE_SUFFIXES, MissingWeights, part_of, resolve_pretrained

UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError)


class FrozenModule(nn.Module):
    """A network that is loaded, never trained: its weights get no gradients, and it stays in evaluation mode.

    Gradients still flow through it to its inputs.
    """

    def freeze(self) -> Self:
        """Freeze all weights; call it once all parts are in place."""
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: a surrounding model's `train()` must not wake BatchNorm or dropout."""
        return super().train(False)


def load_pretrained(model_class: Any, path_or_hub_id: str, *, subfolder: str, hint: str) -> Any:
    """A float32 diffusers or transformers model, from a pipeline's `subfolder` or from its own folder.

    Raises MissingWeights if there is no such model, ValueError if its files are broken or incomplete.
    """
    source = resolve_pretrained(path_or_hub_id, hint)
    part = part_of(source, subfolder, hint)
    where = f"{source}/{part}".rstrip("/")
    try:
        # AutoencoderTiny's own configuration has a key that it then warns of.
        with only_errors_logged("diffusers.configuration_utils"):
            model, report = model_class.from_pretrained(
                source, subfolder=part, dtype=torch.float32, output_loading_info=True
            )
    except UNREADABLE as error:
        raise ValueError(f"{where}: cannot be loaded as {model_class.__name__}: {error}") from error
    if report["missing_keys"]:
        missing = _some(report["missing_keys"])
        raise ValueError(f"{where}: incomplete weights for {model_class.__name__}, missing: {missing}")
    return model


def load_state(path: Path | str) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file, or from a .pt, .pth or .bin file that holds only tensors.

    A file that would run code when read is refused. Raises MissingWeights if there is no such file, and
    ValueError, naming the file, if it is empty, broken, of another format or holds other objects.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingWeights(f"weights not found: there is no file {file}")
    if file.suffix not in STATE_SUFFIXES:
        raise ValueError(f"{file}: weights are read from {', '.join(STATE_SUFFIXES)} files only")
    if file.stat().st_size == 0:
        raise ValueError(f"{file}: the weight file is empty (0 bytes); copy or download it again")
    try:
        return load_file(file) if file.suffix == ".safetensors" else _load_tensors(file)
    except UNREADABLE as error:
        raise ValueError(f"{file}: not readable as weights (broken, or not only tensors): {error}") from error


def _load_tensors(file: Path) -> dict[str, Tensor]:
    state = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it is no dictionary of tensors")
    return state


def load_strict(
    module: nn.Module,
    state: dict[str, Tensor],
    file: Path | str,
    *,
    ignore: Sequence[str] = ("num_batches_tracked",),
) -> None:
    """Copy `state` into `module`; every tensor must be there and have the right shape.

    Keys whose last part is in `ignore` may be missing or superfluous. The ValueError names file and keys.
    """
    wanted = {key: value for key, value in module.state_dict().items() if _last_part(key) not in ignore}
    given = {key: value for key, value in state.items() if _last_part(key) not in ignore}
    reshaped = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted.keys() & given.keys()
        if given[key].shape != wanted[key].shape
    ]
    problems: dict[str, Iterable[str]] = {
        "missing": wanted.keys() - given.keys(),
        "unexpected": given.keys() - wanted.keys(),
        "wrong shape": reshaped,
    }
    named = [f"{kind}: {_some(keys)}" for kind, keys in problems.items() if keys]
    if named:
        raise ValueError(f"{file}: the weights do not fit {type(module).__name__}; {'; '.join(named)}")
    module.load_state_dict(given, strict=False)


def _last_part(key: str) -> str:
    return key.rpartition(".")[2]


def _some(keys: Iterable[str], limit: int = 8) -> str:
    """The first few of the keys in order, and how many more there are."""
    ordered = sorted(keys)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
