"""Weight files on this computer: the places searched, and the names of published weights. Imports no torch.

Weights are no part of the package. They are looked for in `$HIA_WEIGHTS` (a folder, or several joined by
`os.pathsep`), then in the caches that other libraries fill: the Hugging Face hub's and InsightFace's.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hia.config.loading import preset_folder

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
SHIPPED = "shipped:"
STATE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
# Files of each face embedder in order of preference, and how to get one.
FACE_EMBEDDERS = {
    "mobilefacenet": (
        ("mobilefacenet.safetensors", "mobilefacenet.pt"),
        "weights/mobilefacenet.pt of github.com/foamliu/MobileFaceNet (Apache-2.0), 4 MB; put it, or a copy"
        " named mobilefacenet.safetensors, into a folder of $HIA_WEIGHTS",
    ),
    "arcface": (
        ("buffalo_l/w600k_r50.onnx", "antelopev2/glintr100.onnx", "w600k_r50.onnx", "glintr100.onnx"),
        "the model pack buffalo_l or antelopev2 of InsightFace (non-commercial research only): unpack it from"
        " the releases of github.com/deepinsight/insightface into ~/.insightface/models/ or into a folder of"
        " $HIA_WEIGHTS. 'mobilefacenet' is a smaller face embedder with a free licence",
    ),
}
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
TAESD = "madebyollin/taesd"
TAESD_FILES = {"encoder": "taesd_encoder.safetensors", "decoder": "taesd_decoder.safetensors"}


class MissingWeights(FileNotFoundError):
    """Weights that were not found; the message names them, the places searched, and a way to get them."""


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


def part_of(source: str, subfolder: str, hint: str) -> str:
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
