"""Search for weight files of metrics, and their download on request."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import URLError

from hia.config.metrics import METRICS
from hia.evaluation.weights.digests import require_digest
from hia.evaluation.weights.registry import OFFICIAL, Official, WeightFile
from hia.io.files import atomic_write
from hia.weights.find import FACE_EMBEDDERS, MissingWeights, find_weights, weight_folders

SUBFOLDER = "eval"


def weight_files(metric: str, weights: str | None = None) -> list[Path]:
    """Files that loading a metric reads, the official ones or `weights`; none for a metric without a network.

    Raises MissingWeights when they are not found. Their content is not checked.
    """
    network = METRICS[metric].network
    if network is None:
        return []
    if network in FACE_EMBEDDERS:
        name = weights or network
        names, hint = FACE_EMBEDDERS.get(name, ((name,), "give the path of a weight file"))
        return [find_weights(*names, hint=hint)]
    if weights is not None:
        return [find_weights(weights, hint=f"give the path of the weights for {metric}")]
    return [path for _, path in find_files(OFFICIAL[network])]


def find_files(official: Official, download: bool = False) -> list[tuple[WeightFile, Path]]:
    """The files of the first complete alternative; their content is not checked.

    Searched in `eval` of the folders of `$HIA_WEIGHTS` and these themselves, in the user's cache, in torch hub's and in
    installed packages. download: fetch missing files into the user's cache. Raises MissingWeights, with the files, the
    places searched and how to get them, and OSError when a download fails.
    """
    for alternative in official.alternatives:
        found = [(file, path) for file in alternative if (path := _place_of(file)) is not None]
        if len(found) == len(alternative):
            return found
    if download:
        for alternative in official.alternatives:
            if all(_place_of(file) is not None or file.url for file in alternative):
                return [(file, _place_of(file) or fetch(file)) for file in alternative]
    raise MissingWeights(_missing_message(official, download))


def fetch(file: WeightFile, folder: Path | None = None) -> Path:
    """Download a file into the user's cache (or `folder`), complete and checked or not at all.

    Raises OSError when it cannot be downloaded, and AlteredWeights when it is not the official file.
    """
    assert file.url is not None
    import torch.hub

    folder = folder or user_cache()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(folder / file.name) as aside:
            torch.hub.download_url_to_file(file.url, str(aside), progress=False)
            if file.digest is not None:
                require_digest(aside, file.digest)
    except (URLError, TimeoutError) as error:
        raise OSError(f"{file.url} cannot be downloaded: {error}. Put the file into {folder} yourself") from error
    return folder / file.name


def user_cache() -> Path:
    """The folder of downloaded weights, `~/.cache/hia/eval` (or in `$XDG_CACHE_HOME`)."""
    return _caches() / "hia" / SUBFOLDER


def _place_of(file: WeightFile) -> Path | None:
    return next((path for path in _candidates(file) if path.is_file()), None)


def _candidates(file: WeightFile) -> Iterator[Path]:
    yield from (folder / file.name for folder in _folders())
    if file.package is not None:
        package, place = file.package
        # Not imported: some packages need jax, which is not installed.
        spec = importlib.util.find_spec(package)
        yield from (Path(folder) / place for folder in (spec and spec.submodule_search_locations) or ())


def _folders() -> Iterator[Path]:
    for folder in weight_folders():
        yield from (folder / SUBFOLDER, folder)
    # As `torch.hub.get_dir()`, but plans of a run, which search weights, need not import torch.
    torch_home = Path(os.environ.get("TORCH_HOME", _caches() / "torch")).expanduser()
    yield from (user_cache(), torch_home / "hub" / "checkpoints")


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _missing_message(official: Official, download: bool) -> str:
    alternatives = "; or ".join(" and ".join(map(_description, files)) for files in official.alternatives)
    places = "".join(f"\n  - {folder}" for folder in _folders())
    packages = sorted({file.package[0] for files in official.alternatives for file in files if file.package})
    installed = f"\n  - the installed packages {', '.join(packages)}" if packages else ""
    no_address = "\nThere is no address from which it could be downloaded." if download else ""
    return (
        f"{official.metric} needs {alternatives}.\nLooked in:{places}{installed}{no_address}\n"
        f"To get it: {official.hint}. Put it into the first of these folders{_downloadable(official, download)}."
    )


def _downloadable(official: Official, download: bool) -> str:
    offered = any(_all_have_addresses(files) for files in official.alternatives)
    return ", or ask for it to be downloaded" if offered and not download else ""


def _all_have_addresses(files: Sequence[WeightFile]) -> bool:
    return all(file.url for file in files)


def _description(file: WeightFile) -> str:
    digest = f", {file.digest}" if file.digest else ""
    return f"{file.name} ({file.megabytes:g} MB{digest})"
