"""Checks of a configuration before any work: its data, its storage, the memory that training needs.

Nothing heavy is imported for what is wrong at first sight.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hia.config import Config, ConfigError
from hia.io.files import Folder
from orchestration.chain.stage import ChainError
from orchestration.training.memory import check as check_memory

if TYPE_CHECKING:
    from hia.data.store.clip_store import ClipStore


def check(config: Config) -> None:
    """Refuse what can be known to be wrong before any work. Raises ValueError or OSError with what to do."""
    check_data(config)
    check_memory(config)


def check_data(config: Config) -> None:
    """Raises ChainError, StoreError or ValueError when the configured data cannot be used; changes nothing."""
    if config.data is None:
        return
    if "://" not in config.data and not Path(config.data).exists():
        raise ChainError(f"data: {config.data}: there is no such folder or file")
    from hia.data.ingest.layouts import find_videos_in_layout
    from hia.data.store.clip_store import open_store

    if is_store(config.data):
        check_store(open_store(config.data, check="none"))
        return
    storage = Path(config.storage)
    if "://" not in config.data and storage.resolve().is_relative_to(Path(config.data).resolve()):
        raise ChainError(
            f"data: {config.data} has the run's own folder in it ({storage}), where videos will be written: set "
            "storage to a folder outside"
        )
    find_videos_in_layout([config.data], config.preprocess.layout, maps=config.preprocess.maps)


def is_store(location: str) -> bool:
    """True if there is a clip store at the path or URL. Raises ValueError for a URL that cannot be opened."""
    from hia.data.store.clip_store import MANIFEST

    return Folder(location).exists(MANIFEST)


def check_store(store: "ClipStore") -> None:
    """Raises StoreError when there is nothing to train on."""
    from hia.data.store.clip_store import StoreError

    if store.of_split("train"):
        return
    rejected = "".join(f"\n  {one.video}: {one.reason}: {one.message}" for one in store.rejected[:5])
    kept = f"all {len(store.clips)} clips are kept for testing" if store.clips else "it has no clips"
    raise StoreError(f"{store.folder}: nothing to train on: {kept}" + (f"; rejected:{rejected}" if rejected else ""))


def check_writable(storage: Path) -> None:
    """Make the folder. Raises ConfigError when it cannot be made or written to."""
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as error:
        raise ConfigError(f"storage={storage}: cannot be written to ({error.strerror or error})") from None
