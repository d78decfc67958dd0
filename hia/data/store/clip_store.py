"""Reading of a clip store: its manifest, and clips by their entries in it.

STORE/manifest.jsonl     first line: version, settings, statistics; then one line for each clip
STORE/rejected.jsonl     one line for each rejected video or part of one, with its reason
STORE/clips/ab/ID.safetensors
STORE/videos/KEY.json    the result of each video: a later run skips the videos that have one
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hia.conditions.blur import SharpnessScale
from hia.config.types import Split
from hia.console import progress_bar
from hia.data.store.clip import Clip
from hia.data.store.records import ClipInfo, Rejection, from_json
from hia.io.files import Folder
from hia.io.hashing import file_sha256

STORE_FORMAT = "hia-clip-store"
STORE_VERSION = 1
MANIFEST, REJECTED = "manifest.jsonl", "rejected.jsonl"

Check = Literal["hash", "size", "none"]

OPEN_CLIPS = 256


class StoreError(ValueError):
    """Error: a folder is not a clip store, or the store is damaged or of another version."""


@dataclass(frozen=True)
class ClipStore:
    """A finished clip store; `open_store` opens it.

    clips: in the manifest's order. settings: of the preprocessing, by key. statistics: counts, hours and sharpness
    percentiles, see `hia.data.store.statistics`. fingerprint: digest of the settings and of all clips and their splits.
    """

    folder: Folder
    clips: tuple[ClipInfo, ...]
    settings: dict[str, Any]
    statistics: dict[str, Any]
    fingerprint: str
    _open: "OrderedDict[str, Clip]" = field(default_factory=OrderedDict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # Open files cannot be sent to other processes.
        return self.__dict__ | {"_open": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def read(self, info: ClipInfo) -> Clip:
        """Open a clip's file; the `OPEN_CLIPS` last used ones stay open. Raises the errors of `Clip`."""
        if info.id in self._open:
            self._open.move_to_end(info.id)
            return self._open[info.id]
        clip = Clip(self.folder.local(info.file, info.sha256), info)
        self._open[info.id] = clip
        if len(self._open) > OPEN_CLIPS:
            self._open.popitem(last=False)
        return clip

    def of_split(self, split: Split) -> tuple[ClipInfo, ...]:
        """The clips of one split."""
        return tuple(info for info in self.clips if info.split == split)

    @cached_property
    def rejected(self) -> tuple[Rejection, ...]:
        """The rejected videos and parts of videos."""
        lines = self.folder.read(REJECTED).splitlines() if self.folder.exists(REJECTED) else []
        return tuple(from_json(Rejection, line, f"{self.folder}/{REJECTED}, line {n}") for n, line in _numbered(lines))

    @property
    def sharpness_scale(self) -> SharpnessScale | None:
        """Sharpness percentiles over the hands of the training split; None when it has too few."""
        scale = self.statistics.get("sharpness")
        return SharpnessScale(**scale) if scale else None


def open_store(location: str | Path, check: Check = "hash", progress: bool = False) -> ClipStore:
    """Open a clip store, local or at an fsspec URL.

    check: compare each clip file's content (`hash`), only its `size`, or nothing (`none`) with the manifest. Raises
    FileNotFoundError when there is no store; StoreError when it is of another version, its manifest is damaged, or a
    clip file is missing or altered (the message names it).
    """
    folder = Folder(location)
    if not folder.exists(MANIFEST):
        raise FileNotFoundError(f"{folder}: no clip store here (no {MANIFEST}); make one with: hia preprocess")
    lines = folder.read(MANIFEST).splitlines()
    header = _header(folder, lines[0] if lines else b"")
    clips = _clips(folder, lines[1:], header)
    if check != "none":
        _check_files(folder, clips, check, progress)
    return ClipStore(folder, clips, header["settings"], header["statistics"], header["fingerprint"])


def manifest_text(header: dict[str, Any], lines: Iterable[str]) -> str:
    """The manifest's text from its header and its clips' JSON lines."""
    top = {"format": STORE_FORMAT, "version": STORE_VERSION} | header
    first = json.dumps(top, ensure_ascii=False, allow_nan=False, sort_keys=True)
    return "".join(line + "\n" for line in (first, *lines))


def _header(folder: Folder, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != STORE_FORMAT:
        raise StoreError(f"{folder}/{MANIFEST}: its first line is not that of a clip store")
    if header.get("version") != STORE_VERSION:
        raise StoreError(
            f"{folder}: this store has version {header.get('version')}, this program reads {STORE_VERSION}: preprocess "
            "the videos again, into another folder"
        )
    kinds = {"settings": dict, "statistics": dict, "fingerprint": str, "num_clips": int}
    for key, kind in kinds.items():
        if not isinstance(header.get(key), kind):
            raise StoreError(f"{folder}/{MANIFEST}: {key} is missing or damaged in the first line")
    return header


def _clips(folder: Folder, lines: Sequence[bytes], header: dict[str, Any]) -> tuple[ClipInfo, ...]:
    try:
        clips = tuple(from_json(ClipInfo, line, f"{folder}/{MANIFEST}, line {n}") for n, line in _numbered(lines, 2))
    except ValueError as error:
        raise StoreError(str(error)) from None
    if len(clips) != header["num_clips"]:
        raise StoreError(
            f"{folder}/{MANIFEST} lists {len(clips)} clips, its first line says {header['num_clips']}: it was cut off"
        )
    return clips


def _check_files(folder: Folder, clips: Sequence[ClipInfo], check: Check, progress: bool) -> None:
    def problem(info: ClipInfo) -> str | None:
        size = folder.size(info.file)
        if size is None:
            return f"{info.file} (clip of {info.video}) is missing"
        if size != info.bytes:
            return f"{info.file} (clip of {info.video}) has {size} bytes instead of {info.bytes}"
        if check == "hash" and file_sha256(folder.local(info.file, info.sha256)) != info.sha256:
            return f"{info.file} (clip of {info.video}) was altered"
        return None

    with ThreadPoolExecutor() as threads:
        results = threads.map(problem, clips)
        bar = progress_bar(results, total=len(clips), label="checking the store", unit="clip", shown=progress)
        problems = [message for message in bar if message]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise StoreError(
            f"{folder}: {'; '.join(problems[:3])}{more}. Run hia preprocess again with the same videos and settings: "
            "it makes what is missing"
        )


def _numbered(lines: Iterable[bytes], first: int = 1) -> Iterable[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, first) if line.strip())
