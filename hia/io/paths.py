"""Local paths and fsspec URLs alike: joining, splitting, list files, directory listings, fetching copies."""

import os
import posixpath
import shutil
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hia.io.hashing import BLOCK


def is_url(location: str) -> bool:
    """Check whether a location is an fsspec URL (`s3://bucket/clip.mp4`) and not a local path."""
    return "://" in location


def join(folder: str, name: str) -> str:
    """Path or URL of a name relative to a folder; `..` goes up, an absolute path stays as it is."""
    if ".." not in name.split("/"):
        return posixpath.join(folder, name)
    protocol, separator, path = folder.rpartition("://")
    return protocol + separator + posixpath.normpath(posixpath.join(path, name))


def split(location: str) -> tuple[str, str]:
    """Folder and name of a path or URL; the folder of `memory://clip.mp4` is `memory://`."""
    if not is_url(location):
        return posixpath.split(location)
    end = location.rindex("/", 0, len(without_query(location))) + 1
    folder = location[:end]
    return folder if folder.endswith("://") else folder.rstrip("/"), location[end:]


def suffix(location: str) -> str:
    """Lower-case suffix of a path, URL or name, including the dot; empty where there is none."""
    return posixpath.splitext(without_query(location))[1].lower()


def without_query(location: str) -> str:
    """A URL without its query (`?` and the rest); a path unchanged."""
    return location.split("?")[0] if is_url(location) else location


def printable(text: str) -> str:
    """Text that can be encoded as UTF-8: bytes of file names that are not UTF-8 are shown as \\xNN."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_lines(location: str) -> list[str]:
    """Lines of a UTF-8 text file, without blank lines and comments (lines that begin with #).

    Raises OSError when the file cannot be read, ValueError naming it when it is not text.
    """
    try:
        with fsspec.open(location, "rb") if is_url(location) else open(os.path.expanduser(location), "rb") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{location}: a list must be UTF-8 text ({error})") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def fetch(url: str, folder: Path) -> Path | None:
    """Copy the file or folder at a URL into a local folder; None when there is no such file or folder.

    A copied file is called `copy` and has the URL's suffix; a copied folder and its files keep their names. A `file://`
    URL is not copied. Contents are read in blocks, never held in memory. Raises whatever the storage service raises:
    these errors have no common class.
    """
    files, path = fsspec.core.url_to_fs(url)
    if isinstance(files, LocalFileSystem):
        return Path(path)
    # Asking for a folder first would make HTTP read the whole file as a listing.
    if files.isfile(path):
        name = path.split("?")[0].split("#")[0]
        return _fetch_file(files, path, folder / f"copy{posixpath.splitext(name)[1]}")
    if files.isdir(path):
        return _fetch_folder(files, path, folder / posixpath.basename(path.rstrip("/")))
    return None


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


class DirectoryCache:
    """A cache of directory listings: each folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def names(self, folder: str) -> frozenset[str]:
        """Names in a folder, given as path or URL; empty when it does not exist or cannot be listed."""
        if folder not in self._names:
            self._names[folder] = _names(folder)
        return self._names[folder]


def _names(folder: str) -> frozenset[str]:
    try:
        files, path = fsspec.core.url_to_fs(folder) if is_url(folder) else (LocalFileSystem(), folder)
        if isinstance(files, LocalFileSystem):
            return frozenset(os.listdir(path))
        return frozenset(posixpath.basename(str(name).rstrip("/")) for name in files.ls(path, detail=False))
    # The folder does not exist, or the service cannot list it. Storage services raise errors without a common class.
    except Exception:
        return frozenset()
