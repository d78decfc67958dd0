"""Listing of the files of a user's inputs: folders, files, list files, and fsspec URLs of these."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import fsspec

from hia.io.paths import is_url, join, printable, read_lines, split, suffix

LIST_SUFFIX = ".txt"
# Wildcards; the question mark is not among them, because web addresses contain it.
MAGIC = frozenset("*[")

# Name, reason (a short code) and message.
Problem = tuple[str, str, str]


@dataclass(frozen=True)
class Listing:
    """The files of one input.

    root: absolute path or URL of the folder that names are relative to. names: sorted, `/`-separated. named: the user
    named these files themselves, so they are taken whatever their suffix. origin: name of the list file that has them.
    """

    root: str
    names: tuple[str, ...]
    named: bool = False
    origin: str = ""


class Lister:
    """A lister of inputs: lists each real folder and each list file once, and collects problems.

    without: a folder, path or URL, that is left out with all its content.
    """

    def __init__(self, without: str | None = None) -> None:
        self.problems: list[Problem] = []
        self._without = without
        self._lists: set[str] = set()
        self._folders: set[tuple[int, int]] = set()
        if without is not None and not is_url(without) and os.path.isdir(without):
            self._folders.add(_identity(without))

    def expand(self, location: str) -> Iterator[Listing]:
        """The listings of one input. Inputs that do not exist or cannot be listed become problems."""
        if location.startswith("file://") or not is_url(location):
            yield from self._local(os.path.abspath(os.path.expanduser(location.removeprefix("file://"))))
            return
        try:
            yield from self._url(location)
        # Errors of storage services have no common class.
        except Exception as error:
            self._problem(location, "unreadable", f"{location}: cannot be listed ({error})")

    def _local(self, path: str) -> Iterator[Listing]:
        if os.path.isdir(path):
            yield Listing(path, tuple(sorted(self._walk(path))))
        elif not os.path.isfile(path):
            self._problem(os.path.basename(path), "missing", f"{path}: there is no such file or folder")
        elif suffix(path) == LIST_SUFFIX:
            yield from self._entries(path)
        else:
            yield _single(path)

    def _url(self, url: str) -> Iterator[Listing]:
        files, path = fsspec.core.url_to_fs(url)
        if suffix(url) == LIST_SUFFIX:
            yield from self._entries(url)
        # Web servers answer requests for folders as they do for files.
        elif not url.endswith("/") and files.isfile(path):
            yield _single(url)
        elif files.isdir(path):
            left_out = self._left_out(files)
            yield _relative(url, path, [name for name in files.find(path) if not name.startswith(left_out)])
        elif matches := files.glob(path, detail=True) if MAGIC & set(path) else {}:
            names = [name for name, entry in matches.items() if entry["type"] == "file"]
            yield replace(_relative(_before_magic(url), _before_magic(path), names), named=True)
        else:
            self._problem(url, "missing", f"{url}: there is no such file or folder")

    def _entries(self, list_file: str) -> Iterator[Listing]:
        """The listings of a list file's lines: paths relative to it, or URLs."""
        if list_file in self._lists:
            return
        self._lists.add(list_file)
        folder, origin = split(list_file)
        try:
            lines = read_lines(list_file)
        except (OSError, ValueError) as error:
            self._problem(origin, "unreadable", f"{list_file}: cannot be read ({error})")
            return
        for line in lines:
            location = line if is_url(line) else join(folder, os.path.expanduser(line))
            # Checking each of many files at a service would take long; a missing one is noticed when it is read.
            certain = is_url(location) and suffix(location) not in ("", LIST_SUFFIX) and not MAGIC & set(location)
            for listing in [_single(location)] if certain else self.expand(location):
                yield replace(_seen_from(folder, listing), origin=origin)

    def _walk(self, root: str) -> Iterator[str]:
        """Names of all files beneath a folder. Real folders come before linked ones, so that files get real names."""
        folders, links = deque([""]), deque[str]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            for entry in self._scan(root, folder):
                name = join(folder, entry.name)
                kind = self._kind(entry, name)
                if kind == "file":
                    yield name
                elif kind == "folder":
                    folders.append(name)
                elif kind == "link":
                    links.append(name)

    def _scan(self, root: str, folder: str) -> list[os.DirEntry[str]]:
        """The visible entries of a folder; none when it was scanned before, even under another name."""
        path = os.path.join(root, folder)
        try:
            place = _identity(path)
            if place in self._folders:
                return []
            self._folders.add(place)
            with os.scandir(path) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted(visible, key=lambda entry: entry.name)
        except OSError as error:
            self._problem(folder or path, "unreadable_folder", f"{path}: cannot be read ({error.strerror})")
            return []

    def _kind(self, entry: os.DirEntry[str], name: str) -> str:
        """The kind of an entry: `file`, `folder`, `link` (to a folder), or empty, and then a problem is noted."""
        try:
            if entry.is_file():
                return "file"
            if entry.is_dir():
                return self._link(entry, name) if entry.is_symlink() else "folder"
        except OSError as error:
            self._problem(name, "symlink_loop", f"{entry.path}: cannot be followed ({error.strerror})")
            return ""
        if entry.is_symlink():
            self._problem(
                name, "broken_symlink", f"{entry.path} leads to {os.readlink(entry.path)}, which is not there"
            )
        else:
            self._problem(name, "not_a_file", f"{entry.path} is neither a file nor a folder")
        return ""

    def _link(self, entry: os.DirEntry[str], name: str) -> str:
        target, here = os.path.realpath(entry.path), os.path.realpath(os.path.dirname(entry.path))
        if os.path.commonpath([target, here]) == target:
            self._problem(name, "symlink_loop", f"{entry.path} leads back to {target}, which holds it")
            return ""
        return "link"

    def _left_out(self, files: fsspec.AbstractFileSystem) -> tuple[str, ...]:
        """Prefixes of the names, in this file system, of files to be left out."""
        if self._without is None or not is_url(self._without):
            return ()
        others, folder = fsspec.core.url_to_fs(self._without)
        return (f"{folder.rstrip('/')}/",) if type(others) is type(files) else ()

    def _problem(self, name: str, reason: str, message: str) -> None:
        self.problems.append((printable(name), reason, printable(message)))


def list_inputs(inputs: Sequence[str], without: str | None = None) -> tuple[list[Listing], list[Problem]]:
    """The files of inputs (paths or URLs of files, folders, .txt lists; URLs may be globs), and the problems.

    without: see `Lister`.
    """
    lister = Lister(without)
    listings = [listing for location in inputs for listing in lister.expand(str(location))]
    return listings, lister.problems


def _identity(path: str) -> tuple[int, int]:
    """Device and inode of a folder: the same for all its names."""
    place = os.stat(path)
    return place.st_dev, place.st_ino


def _single(location: str) -> Listing:
    folder, name = split(location)
    return Listing(folder, (name,), named=True)


def _relative(url: str, path: str, files: Sequence[str]) -> Listing:
    """The listing of a URL, without hidden files. path, files: its path and those of its files in the file system."""
    names = sorted(name[len(path.rstrip("/")) :].lstrip("/") for name in files)
    root = url if url.endswith("://") else url.rstrip("/")
    return Listing(root, tuple(name for name in names if not _is_hidden(name)))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _seen_from(folder: str, listing: Listing) -> Listing:
    """The listing with names relative to `folder`, if it is of named files within that folder; else unchanged."""
    inside = f"{folder}/"
    if not (listing.named and listing.root.startswith(inside)):
        return listing
    rest = listing.root[len(inside) :]
    return replace(listing, root=folder, names=tuple(f"{rest}/{name}" for name in listing.names))


def _before_magic(location: str) -> str:
    """The folder of a glob: the parts before the first one with a wildcard."""
    parts = location.split("/")
    return "/".join(parts[: next(index for index, part in enumerate(parts) if MAGIC & set(part))])
