"""Helpers for both paths and fsspec URLs: joining, splitting, reading list files, listing the folders around files."""

import os
import posixpath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hia.video.remote import is_url


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
