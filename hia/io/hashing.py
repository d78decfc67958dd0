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


def bytes_sha256(content: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(content).hexdigest()


def json_digest(*values: Any) -> str:
    """Hex digest of JSON-serialisable values; the order of keys in a dict does not matter.

    The names of the chain's stage folders depend on this very encoding: another one trains every model again.
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return bytes_sha256(text.encode("utf-8", "surrogatepass"))
