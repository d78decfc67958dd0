"""Append-only JSONL log of a stage's metrics and artifacts, written by any of its processes, read while it grows.

{"time": MILLISECONDS, "step": N, "metrics": {"loss": 0.1}}
{"time": MILLISECONDS, "artifact": "samples/step_000100_dance.mp4", "under": "samples"}
"""

import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

# Names of metrics that MLflow accepts.
METRIC_NAME = re.compile(r"[\w.\- :]+(/[\w.\- :]+)*", re.ASCII)
LONGEST_NAME = 250
# Metrics on training clips never share the names of those on held-out clips.
TRAIN_PREFIX = "split_train/"


@dataclass(frozen=True)
class Metrics:
    """Numbers measured at a step. time: Unix, in milliseconds; end: byte offset of the next line."""

    time: int
    step: int
    values: Mapping[str, float]
    end: int


@dataclass(frozen=True)
class Artifact:
    """A file or folder that was made. path: relative to the stage's folder; under: folder among the run's artifacts."""

    time: int
    path: str
    under: str
    end: int


Entry = Metrics | Artifact


@dataclass(frozen=True)
class JournalWriter:
    """Writer of a journal: one write per line, so that several processes may append and a killed one harms no other.

    All methods raise OSError when the file cannot be written.
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append numbers at a step. Raises ValueError for a name that the tracking server would refuse."""
        for name in values:
            check_name(name)
        if values:
            self._append({"step": int(step), "metrics": {name: _number(value) for name, value in values.items()}})

    def artifact(self, path_in_stage_folder: str, under: str) -> None:
        """Append a file, or a folder's content, for the folder `under` among the artifacts; empty for their root.

        Raises ValueError for paths that lead out of either.
        """
        for path in (path_in_stage_folder, under):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"artifact {path!r}: give a path below the stage's folder, without '..'")
        self._append({"artifact": path_in_stage_folder, "under": under})

    def _append(self, content: dict[str, Any]) -> None:
        line = json.dumps({"time": time.time_ns() // 1_000_000, **content}, ensure_ascii=False, allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            data = f"{_ending(file)}{line}\n".encode()
            if os.write(file, data) < len(data):
                raise OSError(f"{self.path}: only a part of a line could be written (is the disk full?)")
        finally:
            os.close(file)


def read_new(path: str | os.PathLike[str], offset: int = 0) -> tuple[list[Entry], int]:
    """Read the entries after `offset`; also the offset to go on from. An unfinished line is left for the next call.

    Damaged lines, which killed writers leave, are skipped. A missing file is empty.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            text = file.read()
    except FileNotFoundError:
        return [], offset
    complete = text[: text.rfind(b"\n") + 1]
    return list(_entries(complete, offset)), offset + len(complete)


def check_name(name: str) -> None:
    """Raises ValueError for a name that a metric cannot have."""
    parts = name.split("/")
    if not METRIC_NAME.fullmatch(name) or len(name) > LONGEST_NAME or {".", ".."} & set(parts):
        raise ValueError(
            f"metric {name!r}: a name is made of letters, digits, '_', '-', '.', ':' and spaces, with '/' between "
            f"parts, and is at most {LONGEST_NAME} characters long"
        )


def _ending(file: int) -> str:
    """Line end for a line that a killed writer left unfinished; empty where there is none."""
    size = os.fstat(file).st_size
    return "\n" if size and os.pread(file, 1, size - 1) != b"\n" else ""


def _number(value: float) -> float | str:
    """A number for JSON, which cannot hold infinities and NaN: they are written as text."""
    value = float(value)
    return value if math.isfinite(value) else repr(value)


def _entries(lines: bytes, offset: int) -> Iterator[Entry]:
    for line in lines.splitlines(keepends=True):
        offset += len(line)
        try:
            yield _entry(json.loads(line), offset)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _entry(content: dict[str, Any], end: int) -> Entry:
    written = int(content["time"])
    if "metrics" in content:
        values = {str(name): float(value) for name, value in content["metrics"].items()}
        return Metrics(written, int(content["step"]), values, end)
    return Artifact(written, str(content["artifact"]), str(content["under"]), end)


def metric_prefix(split: str) -> str:
    """Prefix of a split's metrics: empty for clips kept out of training."""
    return "" if split == "test" else TRAIN_PREFIX


def tracked_name(name: str) -> str:
    """A metric's name as MLflow accepts it: `fd[i3d]` is `fd_i3d`."""
    return re.sub(r"[^\w.\- :/]", "_", re.sub(r"\[(.*)\]", r"_\1", name), flags=re.ASCII)
