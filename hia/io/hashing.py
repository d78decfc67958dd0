"""SHA-256 digests of files, bytes and plain values."""

import hashlib
import json
from pathlib import Path
from typing import Any

BLOCK = 1 << 20


def file_sha256(path: str | Path) -> str:
    """Hex digest of a local file's content, read in blocks. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def content_sha256(location: Path) -> str:
    """Hex digest of a file's content, or of the names and contents of a folder's files (hidden ones left out).

    Raises OSError when something cannot be read.
    """
    if not location.is_dir():
        return file_sha256(location)
    files = sorted(path for path in location.rglob("*") if path.is_file() and not path.name.startswith("."))
    return key_digest([[path.relative_to(location).as_posix(), file_sha256(path)] for path in files])


def bytes_sha256(content: bytes) -> str:
    """Hex digest of a byte string."""
    return hashlib.sha256(content).hexdigest()


def json_digest(*values: Any) -> str:
    """Hex digest of JSON-serialisable values; the order of keys in a dict does not matter.

    The names of the chain's stage folders depend on this exact encoding: with another one, every model would be
    trained again.
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return bytes_sha256(text.encode("utf-8", "surrogatepass"))


def key_digest(*values: Any) -> str:
    """Hex digest of JSON-serialisable values, in the encoding of the keys of clips, stores and evaluated clips.

    It differs from `json_digest` only in spaces and escapes: with another encoding, existing ones would be made again.
    """
    return bytes_sha256(json.dumps(values, sort_keys=True).encode())
