"""Loading of a model directory for serving, its version, and the columns of a response."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import torch
import yaml

from hia.models.animation_model import DESCRIPTION, AnimationModel, load_model
from hia.pose.estimators import load_pose_estimator
from hia.serving.generator import GeneratedVideo, Generator
from hia.serving.limits import Limits
from hia.serving.queue import SingleThreadExecutor
from hia.serving.watermark import Watermark

# Names of the serving settings that are recorded with a model.
LIMITS, WATERMARK = "limits", "watermark"
# A file that MLflow writes beside a model that came out of a registry.
REGISTERED = "registered_model_meta"


def load_generator(directory: Path, limits: Limits, watermark: bool = True) -> Generator:
    """Load a model directory, onto the GPU in bf16 where there is one. Raises what `load_model` does."""
    mark = Watermark() if watermark else None
    thread = SingleThreadExecutor()
    model = thread.run(lambda: _on_its_device(directory))
    pose = model.config.preprocess.pose
    return Generator(model, limits, version_of(directory), lambda: load_pose_estimator(pose), mark, thread)


def version_of(directory: Path) -> str:
    """The version of a model: name and number in the registry where they are known, and the digest."""
    digest = digest_of(directory)
    meta = directory.parent.parent / REGISTERED
    if not meta.is_file():
        return digest
    about = yaml.safe_load(meta.read_text(encoding="utf-8"))
    return f"{about['model_name']}/{about['model_version']} {digest}"


def digest_of(directory: Path) -> str:
    """The beginning of the SHA-256 of a model directory's hia.json, which has the SHA-256 of all its other files."""
    return f"sha256:{hashlib.sha256((directory / DESCRIPTION).read_bytes()).hexdigest()[:16]}"


def columns(result: GeneratedVideo) -> dict[str, Any]:
    """The columns of a response, see `hia.serving.mlflow_model`."""
    return {"video": base64.b64encode(result.data).decode("ascii")} | result.about


def _on_its_device(directory: Path) -> AnimationModel:
    model = load_model(directory)
    return model.to("cuda", torch.bfloat16) if torch.cuda.is_available() else model
