"""A stage's folder: its name, its notes, its lock."""

import itertools
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hia.io.files import write_json
from orchestration.chain.stage import ChainError, ChainStage
from orchestration.names import DONE_NOTE, JOURNAL, SENT_NOTE, STAGE_NOTE

REPLACED = ".replaced-"
LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StageFolder:
    """The folder of one execution of a stage: `<storage>/<stage>/<fingerprint[:12]>`."""

    path: Path

    @classmethod
    def of(cls, storage: Path, stage: str, fingerprint: str) -> "StageFolder":
        """The folder of the stage with this fingerprint, whether or not it exists yet."""
        return cls(storage / stage / fingerprint[:12])

    @property
    def note(self) -> dict[str, Any] | None:
        """The note written when the stage began; None when it never did, or the note is damaged."""
        return _read(self.path / STAGE_NOTE)

    @property
    def result(self) -> dict[str, Any] | None:
        """The note written when the stage had finished: `metrics`, `seconds`, `time`; None before that."""
        return _read(self.path / DONE_NOTE)

    def missing(self, stage: ChainStage) -> str | None:
        """The first required output that is not there; None when all are."""
        return next((name for name in stage.required_outputs if not (self.path / name).exists()), None)

    def begin(self, stage: ChainStage, fingerprint: str, inputs: Mapping[str, str]) -> None:
        """Note the stage that begins here; a finished one counts as unfinished again."""
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.note or {}
        if self.result is not None:  # a new execution has a journal of its own
            for name in (DONE_NOTE, JOURNAL, SENT_NOTE):
                (self.path / name).unlink(missing_ok=True)
        note = {
            "name": stage.name,
            "fingerprint": fingerprint,
            "version": stage.version,
            "reads": dict(stage.reads),
            "inputs": dict(inputs),
            "mlflow_run_id": before.get("mlflow_run_id"),
            "driver": {"host": socket.gethostname(), "pid": os.getpid()},
        }
        write_json(self.path / STAGE_NOTE, note)

    def set_run(self, run_id: str) -> None:
        """Note the tracking run. Entries that were sent to another one are sent again: it may be on another server."""
        note = self.note or {}
        if note.get("mlflow_run_id") != run_id:
            (self.path / SENT_NOTE).unlink(missing_ok=True)
            write_json(self.path / STAGE_NOTE, note | {"mlflow_run_id": run_id})

    def finish(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Note that the stage is finished. No file is written after this one."""
        write_json(self.path / DONE_NOTE, {"metrics": dict(metrics), "seconds": round(seconds, 3), "time": time.time()})

    def remove_temporary(self, stage: ChainStage) -> None:
        """Remove the outputs that a finished stage needs no more."""
        for name in stage.temporary_outputs:
            shutil.rmtree(self.path / name, ignore_errors=True)

    @property
    def aside(self) -> Path:
        """The next free name for a folder that is set aside."""
        numbers = itertools.count(1)
        return next(path for number in numbers if not (path := self._numbered(number)).exists())

    def set_aside(self) -> None:
        """Rename the folder, so that the stage begins anew."""
        if self.path.exists():
            os.rename(self.path, self.aside)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}{REPLACED}{number}")

    @contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Lock the folder, waiting for another process that holds it. A killed process holds it no longer.

        Raises ChainError when the lock cannot be made.
        """
        file = self.path.with_name(f".{self.path.name}.lock")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"{self.path.parent.name}: another run is at it ({self._holder()}); waiting until it has finished")
                lock.acquire(poll_interval=LOCK_POLL_SECONDS)
        except OSError as error:
            raise ChainError(f"{file.parent} cannot be written to ({error.strerror or error})") from None
        try:
            yield
        finally:
            lock.release()

    def _holder(self) -> str:
        driver = (self.note or {}).get("driver", {})
        return f"process {driver['pid']} on {driver['host']}" if driver else "it has just begun"


def executions(storage: Path, stage: str) -> list[StageFolder]:
    """All folders of a stage in which it was begun, newest first."""
    folders = [StageFolder(path.parent) for path in (storage / stage).glob(f"*/{STAGE_NOTE}")]
    return sorted(folders, key=lambda folder: _age(folder.path / STAGE_NOTE))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _age(path: Path) -> float:
    return -path.stat().st_mtime
