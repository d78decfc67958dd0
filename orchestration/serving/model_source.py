"""Sources of a model: a version in MLflow's registry, or a folder."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hia.models.animation_model import DESCRIPTION

REGISTRY = "models:/"
# The file that MLflow writes beside a model, and the model directory's path from there.
MLMODEL, INSIDE = "MLmodel", Path("artifacts", "model")


def pinned(model: str) -> str:
    """The version that a registry's alias or `latest` means now, or a folder's absolute path.

    Otherwise a replica started after the alias has moved would serve another model than the earlier ones.
    Raises FileNotFoundError for a folder without a model, and what MLflow does.
    """
    if not model.startswith(REGISTRY):
        return str(_directory(Path(model)).resolve())
    from mlflow import MlflowClient
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    return REGISTRY + "/".join(map(str, get_model_name_and_version(MlflowClient(), model)))


def recorded_settings(model: str) -> Mapping[str, Any]:
    """The serving settings recorded with a model (`orchestration.stages.pyfunc`); {} for a model directory."""
    from mlflow.models import get_model_info

    uri = model if model.startswith(REGISTRY) else str(_around(Path(model)))
    if not uri.startswith(REGISTRY) and not Path(uri, MLMODEL).is_file():
        return {}
    return get_model_info(uri).flavors["python_function"].get("config") or {}


@contextmanager
def model_directory(model: str) -> Iterator[Path]:
    """Provide the model directory (`hia.models.animation_model`) while the context lasts."""
    if not model.startswith(REGISTRY):
        yield _directory(Path(model))
        return
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="hia-") as folder:
        yield _directory(Path(download_artifacts(artifact_uri=model, dst_path=folder)))


def _directory(folder: Path) -> Path:
    """The model directory: the folder itself, or the one inside an MLflow model. Raises FileNotFoundError."""
    for candidate in (folder, folder / INSIDE):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise FileNotFoundError(f"{folder} is no model: neither it nor {INSIDE} in it has a {DESCRIPTION}")


def _around(directory: Path) -> Path:
    """The folder of the MLflow model that a model directory lies in."""
    return directory.parents[len(INSIDE.parts) - 1]
