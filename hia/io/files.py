"""Atomic writes of files and directories; `Folder`, a folder of files, local or at any fsspec URL."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from hia.io.hashing import file_sha256

# Prefix of temporary names, which are in the folder of the final name; listings skip them.
ASIDE = ".hia-aside-"
LOCK = ".lock"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends, removed when it raises.

    The temporary name has no suffix, so that a search for `*.json` does not find it. The content is flushed to the disk
    before the renaming: even after a power cut, no half-written file has the final name. Raises OSError.
    """
    path = Path(path)
    aside = path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically. Raises OSError."""
    with atomic_write(path) as aside:
        aside.write_bytes(content)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically, with sorted keys. Raises OSError."""
    write_bytes(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True).encode())


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """A temporary directory beside `path` that takes its place when the block ends, or is removed when it raises.

    An older directory keeps the name until the new one is complete, and gets it back if the renaming fails. Raises
    OSError.
    """
    path = Path(path)
    aside, replaced = (path.with_name(f"{ASIDE}{uuid.uuid4().hex}") for _ in range(2))
    aside.mkdir(parents=True)
    try:
        yield aside
        if path.exists():
            os.rename(path, replaced)
        try:
            os.rename(aside, path)
        except OSError:
            if replaced.exists():
                os.rename(replaced, path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def remove_aside(folder: str | Path) -> None:
    """Remove temporary files of killed writers directly in a folder. Call it only while no process writes there."""
    for path in Path(folder).glob(f"{ASIDE}*"):
        _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


class WriteError(OSError):
    """Error: a file of the folder cannot be written, because the disk is full or permission is missing."""


class Folder:
    """A folder at a local path or an fsspec URL (`s3://bucket/store`), with `/`-separated names in it.

    A file appears under its name complete or not at all; object stores guarantee that themselves. Raises ValueError
    for an empty location, and for a URL whose protocol fsspec does not have or lacks a package for.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        if not self.location.strip():
            raise ValueError("the name of a folder must not be empty")
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.location)
        except (ImportError, ValueError) as error:
            raise ValueError(f"{self.location}: such a place cannot be opened ({error})") from None
        self.is_local = isinstance(self.files, LocalFileSystem)

    def __str__(self) -> str:
        return self.location

    @property
    def absolute(self) -> str:
        """The location, independent of the working folder."""
        return str(self.root) if self.is_local else self.location

    def path(self, name: str) -> str:
        """Full path of a name in this folder."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Check whether a file or folder exists."""
        return bool(self.files.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None when it does not exist."""
        try:
            info = self.files.info(self.path(name))
        except FileNotFoundError:
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """Read a whole file. Raises FileNotFoundError, and OSError when it cannot be read."""
        return bytes(self.files.cat_file(self.path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing an older one. Raises WriteError, and then leaves nothing of the new file."""
        try:
            self._write_locally(name, content) if self.is_local else self.files.pipe_file(self.path(name), content)
        except OSError as error:
            raise WriteError(f"{self}: {name} cannot be written ({error.strerror or error})") from None

    def _write_locally(self, name: str, content: bytes) -> None:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content; do nothing when it does not exist."""
        if self.exists(name):
            self.files.rm(self.path(name), recursive=True)

    def remove_aside(self) -> None:
        """Remove temporary files of killed writers. Call it only while no process writes."""
        if self.is_local:
            for path in list(Path(self.root).rglob(f"{ASIDE}*")):
                _remove(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock a local folder, created if needed, against other runs. Raises OSError when another run has locked it.

        The lock ends with the process that holds it. Remote folders are not locked.
        """
        if not self.is_local:
            yield
            return
        if Path(self.root).is_file():
            raise WriteError(f"{self}: this is a file; a folder is needed")
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            lock = FileLock(Path(self.root, LOCK))
            lock.acquire(timeout=0)
        except Timeout:
            raise OSError(f"{self}: another run is writing to this store; wait for it, or end it") from None
        except OSError as error:
            raise WriteError(f"{self}: cannot be written to ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()

    def names(self, folder: str) -> list[str]:
        """Sorted names of the files directly in a sub-folder, without the folder."""
        try:
            entries = self.files.ls(self.path(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (str(entry).rsplit("/", 1)[-1] for entry in entries)
        return sorted(name for name in names if name and not name.startswith(ASIDE))

    def local(self, name: str, sha256: str) -> Path:
        """A local path of a file: the file itself, or a copy in the user's cache, made once per content.

        sha256: of the file's content; it names the copy. Raises ValueError when the content differs, and keeps no copy.
        """
        if self.is_local:
            return Path(self.path(name))
        folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hia" / "clips" / sha256[:2]
        copy = folder / sha256
        if copy.is_file():
            return copy
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(copy) as aside:
            with self.files.open(self.path(name), "rb") as source, open(aside, "xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            if file_sha256(aside) != sha256:
                raise ValueError(f"{self}: {name} is not the file that the manifest lists (its content has changed)")
        return copy
