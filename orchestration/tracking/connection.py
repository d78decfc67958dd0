"""Connection to the tracking server and its experiment; without a server, to a database in the storage."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from filelock import FileLock

from hia.io.files import write_bytes
from orchestration.environment import EXPERIMENT_NAME, MLFLOW, set_defaults, tracking_uri
from orchestration.tracking.experiment import Tracking
from orchestration.tracking.retry import Server, TrackingRefused

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "hia"
# MLflow's page then shows runs and curves, and not what is made for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# At the start, a wrong address is likelier than a server that is being started again.
CONNECTION_PATIENCE_SECONDS = 30.0

# Their warnings are raised here as errors, too, or of no interest.
QUIET = {
    "mlflow": logging.ERROR,
    "mlflow.store.db.utils": logging.CRITICAL,
    "alembic": logging.WARNING,
    "urllib3": logging.ERROR,
}


def connect_tracking(storage: str | os.PathLike[str]) -> Tracking:
    """The tracking server at $MLFLOW_TRACKING_URI, or the database `mlflow.db` in the storage.

    Makes the database and the experiment ($MLFLOW_EXPERIMENT_NAME, else `hia`) where there are none; any number of
    processes may do so at once. Raises TrackingUnavailable, TrackingRefused or OSError.
    """
    set_defaults(MLFLOW)
    from mlflow import MlflowClient

    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    folder = Path(storage).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    uri = tracking_uri(folder)
    with _alone(uri):
        server = Server(MlflowClient(uri), uri)
        name = os.environ.get(EXPERIMENT_NAME) or EXPERIMENT
        artifacts = None if is_remote(uri) else (folder / "artifacts").as_uri()
        experiment = server.call_with_retry(
            f"looking for experiment {name}",
            lambda: _experiment(server.client, name, artifacts),
            patience=CONNECTION_PATIENCE_SECONDS,
        )
    return Tracking(server, experiment, _identity(folder))


def is_remote(uri: str) -> bool:
    """True if a server stores the artifacts, instead of this process."""
    return uri.startswith(("http://", "https://", "databricks"))


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=artifacts, tags=EXPERIMENT_TAGS)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "deleted":
        raise TrackingRefused(
            f"experiment {name} was deleted: restore it (mlflow experiments restore) or set MLFLOW_EXPERIMENT_NAME"
        )
    return found.experiment_id


def _alone(uri: str) -> AbstractContextManager[object]:
    """Let one process at a time create the tables of a database file: others would find half of them."""
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    database = Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(f".{database.name}.lock"))


def _identity(storage: Path) -> str:
    """A unique name of the storage, wherever it is mounted: only runs of the same storage can be resumed."""
    note = storage / ".storage"
    with FileLock(storage / ".storage.lock"):
        if not note.is_file():
            write_bytes(note, uuid4().hex.encode())
    return note.read_text(encoding="utf-8").strip()
