"""Weight files: finding them on this computer, and reading them safely.

Weights are no part of the package. They are looked for in `$HIA_WEIGHTS` (a folder, or several joined by
`os.pathsep`), then in the caches that other libraries fill: the Hugging Face hub's and InsightFace's.
"""

import os
import pickle
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import Self

from hia.config.loading import preset_folder
from hia.console import only_errors_logged

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
SHIPPED = "shipped:"
STATE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError)


class MissingWeights(FileNotFoundError):
    """Weights that were not found; the message names them, the places searched, and a way to get them."""


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


def find_weights(*names: str, hint: str, search: Sequence[Path] | None = None) -> Path:
    """First existing of `names` (files or folders): as a path, in `$HIA_WEIGHTS`, in the libraries' caches.

    Each place is searched for all names before the next one. `search` replaces the folders of `$HIA_WEIGHTS`. A name
    `shipped:NAME` is looked for among the presets alone, with which some small weights come.
    Raises MissingWeights, whose message ends with `hint`, a way to get the weights.
    """
    looked = []
    names = tuple(_shipped(name) if name.startswith(SHIPPED) else name for name in names)
    for place, path in _candidates(names, weight_folders() if search is None else search):
        if path is not None and path.exists():
            return path
        looked.append(place)
    raise _missing(" or ".join(names), looked, hint)


def _shipped(name: str) -> str:
    return str(preset_folder() / name.removeprefix(SHIPPED))


def weight_folders() -> list[Path]:
    """Folders of `$HIA_WEIGHTS`, in order; none when it is not set."""
    return [Path(part).expanduser() for part in os.environ.get("HIA_WEIGHTS", "").split(os.pathsep) if part]


def _candidates(names: Sequence[str], folders: Sequence[Path]) -> Iterator[tuple[str, Path | None]]:
    """Places to look in, in order: a description, and the path if there can be one."""
    for name in names:
        path = Path(name).expanduser()
        yield str(path.absolute()), path
    relative = [name for name in names if not Path(name).expanduser().is_absolute()]
    for folder in folders:
        for name in relative:
            yield str(folder / name), folder / name
    for name in relative:
        yield from _library_caches(name)


def _library_caches(name: str) -> Iterator[tuple[str, Path | None]]:
    if is_hub_id(name):
        yield f"the Hugging Face cache, model {name}", _hub_snapshot(name)
    elif name.endswith(".onnx"):
        path = Path.home() / ".insightface" / "models" / name
        yield str(path), path


def is_hub_id(name: str) -> bool:
    """Check whether `name` has the form "owner/model" of the Hugging Face hub, and is no weight file."""
    return HUB_ID.fullmatch(name) is not None and not name.endswith((*STATE_SUFFIXES, ".onnx"))


def _hub_snapshot(hub_id: str) -> Path | None:
    """Folder of a model in the hub's cache, complete or not: of a pipeline, often only a part was needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except LocalEntryNotFoundError as error:
        partial = getattr(error, "snapshot_path", None)
        return Path(partial) if partial else None
    except HFValidationError:
        return None


def _hub_files(hub_id: str) -> list[str]:
    """Names of the files of a model on the hub; none when the hub may not or cannot be asked."""
    from huggingface_hub import HfApi, is_offline_mode

    if is_offline_mode():
        return []
    try:
        return HfApi().list_repo_files(hub_id)
    except Exception:  # no network, no such model, no permission: the errors vary with the hub's HTTP library
        return []


def _missing(what: str, looked: Sequence[str], hint: str) -> MissingWeights:
    places = "".join(f"\n  - {place}" for place in looked)
    unset = "" if os.environ.get("HIA_WEIGHTS") else "\n$HIA_WEIGHTS, the folder of your weights, is not set."
    return MissingWeights(f"weights not found: {what}. Looked in:{places}{unset}\nTo get them: {hint}")


def resolve_pretrained(path_or_hub_id: str, hint: str) -> str:
    """The argument of diffusers' or transformers' `from_pretrained` for `path_or_hub_id`.

    An existing folder, else a folder of that name in `$HIA_WEIGHTS`, else the hub id itself if the hub's
    cache has it or the hub answers (`HF_HUB_OFFLINE=1` forbids asking). Raises MissingWeights otherwise.
    """
    try:
        found = find_weights(path_or_hub_id, hint=hint)
    except MissingWeights:
        if is_hub_id(path_or_hub_id) and _hub_files(path_or_hub_id):
            return path_or_hub_id
        raise
    # A cached snapshot may hold only a part of the model; given its id, the library can complete it.
    from_cache = is_hub_id(path_or_hub_id) and found == _hub_snapshot(path_or_hub_id)
    return path_or_hub_id if from_cache else str(found)


def load_pretrained(model_class: Any, path_or_hub_id: str, *, subfolder: str, hint: str) -> Any:
    """A float32 diffusers or transformers model, from a pipeline's `subfolder` or from its own folder.

    Raises MissingWeights if there is no such model, ValueError if its files are broken or incomplete.
    """
    source = resolve_pretrained(path_or_hub_id, hint)
    part = _part_of(source, subfolder, hint)
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


def _part_of(source: str, subfolder: str, hint: str) -> str:
    """`subfolder` if the model lies there, "" if `source` is the model's own folder."""
    configs = {part: Path(part, "config.json").as_posix() for part in (subfolder, "")}
    folder = Path(source) if Path(source).is_dir() else _hub_snapshot(source)
    for part, config in configs.items():
        if folder is not None and (folder / config).is_file():
            return part
    on_hub = [] if Path(source).is_dir() else _hub_files(source)
    for part, config in configs.items():
        if config in on_hub:
            return part
    looked = [f"{folder or source}/{config}" for config in configs.values()]
    raise _missing(f"{subfolder} of {source}", looked, hint)


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
