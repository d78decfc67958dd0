"""Provenance of a run: commit, packages, machine, command; and the identity of its process."""

import functools
import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from orchestration.environment import COMMAND

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("hia", "orchestration")
# A clock that is corrected shifts the time at which a process seems to have started.
SAME_START_SECONDS = 10.0


@functools.cache
def environment() -> dict[str, Any]:
    """Provenance as plain values, to be kept with a run.

    commit and uncommitted_changes are None where the code is not a checkout (in a Ray job, git's folder stays behind);
    source_sha256, of all our Python files, identifies the code there too.
    """
    return {
        "command": command(),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": _uncommitted(),
        "source_sha256": _source_sha256(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "packages": _packages(),
    }


def command() -> str:
    """The command line that this process works for, to be pasted into a shell."""
    return os.environ.get(COMMAND) or shlex.join(["python", *sys.orig_argv[1:]])


def driver_tags() -> dict[str, str]:
    """Tags by which another process finds out whether this one is alive."""
    process = psutil.Process()
    return {
        "hia.host": socket.gethostname(),
        "hia.pid": str(process.pid),
        "hia.process_started": f"{process.create_time():.2f}",
    }


def is_alive(pid: int, started: float) -> bool:
    """True if the process of this machine with this number and Unix time of start is alive."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _git(*arguments: str) -> str | None:
    """Output of a git command in this repository; None where the code is not in a repository of its own."""
    if not (REPOSITORY / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _uncommitted() -> bool | None:
    changes = _git("status", "--porcelain")
    return None if changes is None else bool(changes)


def _source_sha256() -> str:
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            digest.update(f"{file.relative_to(REPOSITORY).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _packages() -> dict[str, str]:
    found = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))
