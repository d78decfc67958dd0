"""Digests of weight files, in the two forms in which their publishers give them."""

import hashlib
from pathlib import Path

from hia.io.hashing import file_sha256

CHUNK = 1 << 20
SHA256 = "sha256"


class AlteredWeights(ValueError):
    """A file that has the name of official weights, but not their content."""


def require_digest(file: Path, expected: str) -> None:
    """Check a file's digest: `sha256 4c06…`, or its beginning, or `git blob a867…`. Raises AlteredWeights."""
    kind, _, wanted = expected.rpartition(" ")
    found = file_sha256(file) if kind == SHA256 else _git_blob_of(file)
    if not found.startswith(wanted):
        raise AlteredWeights(
            f"{file} is not the official file: expected {expected}, found {kind} {found} "
            f"({file.stat().st_size:,} bytes). It may be cut off or of another version: delete it and get it again. "
            "Numbers of other weights never go by the official names: to use such, give the file explicitly"
        )


def _git_blob_of(file: Path) -> str:
    """The digest that `git hash-object FILE` prints."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
