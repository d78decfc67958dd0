"""Files at fsspec URLs as local ones."""

import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hia.video.errors import MissingVideo, UnreachableVideo, VideoError

BLOCK = 1 << 20


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL (`s3://bucket/clip.mp4`) and not a local path."""
    return "://" in location


@contextmanager
def local_copy(location: str | Path) -> Iterator[Path]:
    """A local path of a file or folder: itself, or a temporary copy of what an fsspec URL names.

    A copy has the file's suffix (a folder's files keep their names) and goes when the context is left. It is fetched in
    blocks, never held in memory. Raises VideoError (`missing`, `unreadable`) naming the location.
    """
    if not is_url(str(location)):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="hia-") as folder:
        yield _fetch(str(location), Path(folder))


def _fetch(location: str, folder: Path) -> Path:
    try:
        files, path = fsspec.core.url_to_fs(location)
        if isinstance(files, LocalFileSystem):
            return Path(path)
        # Asking for a folder first would make HTTP read the whole file as a listing.
        if files.isfile(path):
            return _fetch_file(files, path, folder / f"copy{_suffix(path)}")
        if files.isdir(path):
            return _fetch_folder(files, path, folder / posixpath.basename(path.rstrip("/")))
    except VideoError:
        raise
    # The errors of storage services have no common class.
    except Exception as error:
        raise UnreachableVideo("unreadable", f"{location}: cannot be fetched ({error})") from error
    raise MissingVideo("missing", f"no such file or folder: {location}")


def _fetch_folder(files: Any, path: str, target: Path) -> Path:
    target.mkdir()
    for entry in files.ls(path, detail=True):
        if entry["type"] == "file":
            _fetch_file(files, entry["name"], target / posixpath.basename(entry["name"]))
    return target


def _fetch_file(files: Any, path: str, target: Path) -> Path:
    with files.open(path, "rb") as source, open(target, "xb") as copy:
        shutil.copyfileobj(source, copy, BLOCK)
    return target


def _suffix(path: str) -> str:
    return posixpath.splitext(path.split("?")[0].split("#")[0])[1]
