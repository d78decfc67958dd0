"""Absolute paths of a run: the working folder of a cluster's job is a temporary copy, and workers have others."""

import json
import os
from dataclasses import replace
from pathlib import Path

from hia.config import Config, ConfigError
from hia.config.types import map_paths
from orchestration.environment import RAY_JOB

DEFAULT_STORAGE = Config(preset="").storage
JOB_STORAGE = "~/hia-runs"


def with_absolute_paths(config: Config) -> tuple[Config, list[str]]:
    """Make the paths of a configuration absolute; also notes for the user about them.

    Raises ConfigError for a relative path in a job, whose working folder is a temporary copy.
    """
    notes = []
    storage, data = config.storage, config.data
    if in_temporary_copy():
        if storage == DEFAULT_STORAGE:
            storage = JOB_STORAGE
            notes.append(
                f"storage: {Path(storage).expanduser()} on {os.uname().nodename}, since a job's working folder goes "
                "with it; a cluster of several machines needs a folder that all of them share (--set storage=/…)"
            )
        for key, value in (("storage", storage), ("data", data)):
            if value and not _is_absolute(value):
                raise ConfigError(
                    f"{key}={value}: a job works in a temporary copy of the folder that was submitted, so this must be "
                    "an absolute path (or a URL), which all machines of the cluster share"
                )
    if "://" in storage.removeprefix("file://"):
        raise ConfigError(f"storage={storage}: must be a folder, which all machines share, and not a URL")
    config = replace(config, storage=str(_path(storage)), data=_place(data) if data else None)
    # Workers have other working folders.
    return map_paths(config, _absolute_if_there), notes


def in_temporary_copy() -> bool:
    """True in a Ray job whose working folder Ray has unpacked for it."""
    try:
        environment = json.loads(os.environ.get(RAY_JOB, "{}")).get("runtime_env") or {}
    except (ValueError, AttributeError):
        return False
    return bool(environment.get("working_dir"))


def _absolute_if_there(name: str) -> str:
    """The absolute path of a file or folder that is there; the name of a model as it is."""
    return str(_path(name)) if "://" not in name and _path(name).exists() else name


def _place(location: str) -> str:
    return location if "://" in location.removeprefix("file://") else str(_path(location))


def _path(location: str) -> Path:
    return Path(os.path.abspath(Path(location.removeprefix("file://")).expanduser()))


def _is_absolute(location: str) -> bool:
    return "://" in location or Path(location).expanduser().is_absolute()
