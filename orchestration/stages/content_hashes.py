"""Fingerprints of weights and videos: files count by their content, the hub's models by their name."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec

from hia.config import CodecConfig, EvaluationConfig
from hia.config.evaluation import own_weights
from hia.evaluation.weights.locate import weight_files
from hia.io.files import write_json
from hia.io.hashing import file_sha256, key_digest
from hia.io.paths import is_url
from hia.weights.find import (
    FACE_EMBEDDERS,
    STABLE_DIFFUSION,
    TAESD,
    TAESD_FILES,
    MissingWeights,
    find_weights,
    is_hub_id,
    weight_folders,
)

HINT = "see the section on weights in the README"
# Facts that file systems have of a file by which a change of its content shows.
SIGNS = ("size", "mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "md5Hash", "generation")


class ContentHashes:
    """Hashes of weights, each file read once as long as it stays as it is.

    notes: the file that remembers hashes; it is neither read nor written when its folder does not exist.
    """

    def __init__(self, notes: Path | None = None) -> None:
        self._notes = notes
        self._known: dict[str, Any] = _read(notes) if notes else {}
        self._changed = False

    def of_weights(self, source: str | None, subfolder: str = "") -> str | None:
        """The entry of weights in a fingerprint: the hash of a file or of a folder (its `subfolder`, where it has one).

        A model of the hub that no folder shadows counts by its name, so that it does not matter whether it has been
        downloaded yet. Raises MissingWeights for what is neither.
        """
        if source is None:
            return None
        if is_hub_id(source) and not _is_local(source):
            return f"hub:{source}"
        found = find_weights(source, hint=HINT)
        part = found / subfolder
        return self.of_path(part if subfolder and part.is_dir() else found)

    def of_codec(self, codec: CodecConfig) -> str | None:
        """The entry of a codec's weights; None for a codec without any."""
        if codec.kind == "pixel":
            return None
        if codec.kind == "sd-vae":
            return self.of_weights(codec.weights or STABLE_DIFFUSION, "vae")
        folders = ("", "taesd/") if codec.weights is None else (f"{codec.weights}/",)
        try:
            encoder = find_weights(*(folder + TAESD_FILES["encoder"] for folder in folders), hint=HINT)
        except MissingWeights:
            return self.of_weights(codec.weights or TAESD, "vae")
        return key_digest([self.of_path(encoder), self.of_path(encoder.with_name(TAESD_FILES["decoder"]))])

    def of_face_embedder(self, name: str | None) -> str | None:
        """The entry of a face embedder's weights."""
        if name is None:
            return None
        names, hint = FACE_EMBEDDERS.get(name, ((name,), HINT))
        return self.of_path(find_weights(*names, hint=hint))

    def of_metrics(self, wanted: EvaluationConfig) -> dict[str, list[str]]:
        """The entries of the metrics that can be measured, by name: hashes of each one's files, none without a network.

        Raises MissingWeights for metrics that were asked for by name.
        """
        own = own_weights(wanted.weights)
        found: dict[str, list[str]] = {}
        for name in dict.fromkeys((*wanted.names, *own)):
            try:
                found[name] = [self.of_path(file) for file in weight_files(name, own.get(name))]
            except MissingWeights:
                if wanted.metrics is not None or name in own:
                    raise
        return found

    def of_path(self, path: Path) -> str:
        """Hash of a file, or of the names and contents of a folder's files (hidden ones left out)."""
        path = path.absolute()
        if not path.is_dir():
            return self._of_file(path)
        files = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
        return key_digest([[one.relative_to(path).as_posix(), self._of_file(one)] for one in files])

    def remember(self) -> None:
        """Save the hashes for the next time; a failure to do so is ignored."""
        if self._notes is None or not self._changed or not self._notes.parent.is_dir():
            return
        with suppress(OSError):
            write_json(self._notes, self._known)

    def _of_file(self, path: Path) -> str:
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:3] == state:
            return str(known[3])
        sha256 = file_sha256(path)
        self._known[str(path)], self._changed = [*state, sha256], True
        return sha256


def content_states(locations: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """For each named group of files or folders (paths or URLs), a digest that changes when one of them does."""
    return {name: key_digest([_state(one) for one in places]) for name, places in locations}


def _state(location: str) -> list[Any]:
    """Sizes and times of a file or of a folder's files, or a remote file system's equivalents; empty if missing."""
    if is_url(location):
        try:
            files, path = fsspec.core.url_to_fs(location)
            found = files.find(path, detail=True) if files.isdir(path) else {path: files.info(path)}
        except Exception:  # of many kinds; preprocessing says what is wrong with the video
            return []
        return [[name, *(str(info[sign]) for sign in SIGNS if sign in info)] for name, info in sorted(found.items())]
    path = Path(location)
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    try:
        return [[str(one), one.stat().st_size, one.stat().st_mtime_ns] for one in files]
    except OSError:
        return []


def _is_local(source: str) -> bool:
    """True if a hub id is shadowed by a folder, in the working folder or in `$HIA_WEIGHTS`."""
    return any((folder / source).exists() for folder in (Path(), *weight_folders()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
