"""Environment variables that the orchestration reads and sets, in one table.

Read
    RAY_ADDRESS                   cluster to join; set by Ray in a submitted job
    RAY_JOB_CONFIG_JSON_ENV_VAR   set by Ray in a submitted job: its runtime environment
    MLFLOW_TRACKING_URI           tracking server; without it, a database in the storage
    MLFLOW_EXPERIMENT_NAME        experiment there
    HIA_WEIGHTS                   folders in which weights are looked for
    HIA_COMMAND                   command that the user gave, in processes that work for another one
Set unless the user has set them: `RAY`, `RAY_TUNE`, `MLFLOW`, each before the library is imported.
Always set: PYTHONPATH, by scripts that run from a checkout (`orchestration.command`); for single calls, torchrun's
variables (`orchestration.training.distributed`) and MLFLOW_TRACKING_URI (`orchestration.stages.register`).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from orchestration.names import tracking_database

RAY_ADDRESS = "RAY_ADDRESS"
RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
TRACKING_URI, EXPERIMENT_NAME = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
WEIGHTS = "HIA_WEIGHTS"
COMMAND = "HIA_COMMAND"

# Where workers look for weights and keep downloads. Credentials are left to the cluster.
FORWARDED = (
    *(WEIGHTS, "XDG_CACHE_HOME", "TORCH_HOME"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"),
)

RAY = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    # Ray Train looks at its workers five times a second instead of every two, without which short stages wait for it;
    # and keeps no statistics of its own.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_worker_niceness": "0",
}
# Ctrl-C is handled by the driver; Ray Tune writes no files of its own into every trial, and prints nothing.
RAY_TUNE = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
# Requests are repeated by `orchestration.tracking.retry`, and one must not hold its thread for minutes. MLflow reports
# its use to its makers by default.
MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def set_defaults(values: Mapping[str, str]) -> None:
    """Set variables that the user has not set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def tracking_uri(storage: Path) -> str:
    """Address of the tracking server: the configured one, or the database in the storage."""
    return os.environ.get(TRACKING_URI) or f"sqlite:///{tracking_database(storage)}"


def make_weights_folders_absolute() -> None:
    """Let workers, whose working folders are others, find the same folders of weights."""
    if folders := os.environ.get(WEIGHTS):
        os.environ[WEIGHTS] = os.pathsep.join(map(os.path.abspath, folders.split(os.pathsep)))
