"""The MLflow model of an exported model directory: code, weights, signature and requirements."""

import base64
import importlib.metadata
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import hia
from hia.images import encode_png
from hia.serving.generator import PHASES, GeneratedVideo
from hia.serving.limits import Limits
from hia.serving.loading import LIMITS, WATERMARK
from hia.serving.schema import COLUMNS, Params
from hia.synthetic import write_dancers
from hia.video import read_frames
from orchestration.names import MODEL

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


SERVED = Path(hia.__file__).parent / "serving" / "mlflow_model.py"
# Packages that the served model imports; it needs neither Ray nor DeepSpeed.
REQUIREMENTS = (
    *("accelerate", "av", "diffusers", "fsspec", "mlflow", "numpy", "opencv-python", "pandas", "pillow", "pydantic"),
    *(
        "filelock",
        "invisible-watermark",
        "onnxruntime",
        "pywavelets",
        "pyyaml",
        "rtmlib",
        "safetensors",
        "starlette",
        "torch",
        "tqdm",
        "transformers",
    ),
)


def save_pyfunc(model: Path, path: Path, run_id: str | None = None, model_id: str | None = None) -> None:
    """Write an MLflow model of a model directory: code, safetensors and JSON, no pickles.

    run_id, model_id: of its run and its logged model in the tracking server.
    """
    import pandas
    from mlflow import pyfunc
    from mlflow.models import Model

    package = Path(hia.__file__).parent
    with tempfile.TemporaryDirectory() as aside:
        # Sources only: no compiled bytecode, which another Python cannot use, and no documentation.
        shutil.copytree(package, Path(aside) / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        pyfunc.save_model(
            path=str(path),
            python_model=str(SERVED),
            artifacts={MODEL: str(model)},
            code_paths=[str(Path(aside) / package.name)],
            signature=signature(),
            model_config={LIMITS: asdict(Limits()), WATERMARK: True},
            input_example=pandas.DataFrame([example_request()]),
            pip_requirements=requirements(),
            mlflow_model=Model(run_id=run_id, model_id=model_id),
        )


def signature() -> "ModelSignature":
    """Inputs, outputs and parameters of the served model, see `hia.serving.schema` and `hia.serving.mlflow_model`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Object, Property

    params = [
        ParamSpec(name, _mlflow_type(kind), getattr(Params, name)) for name, kind in get_type_hints(Params).items()
    ]
    seconds = Object([Property(name, _mlflow_type(float)) for name in PHASES])
    gives = {
        name: _mlflow_type(kind)
        for name, kind in get_type_hints(GeneratedVideo).items()
        if name not in ("data", "seconds")
    }
    return ModelSignature(
        inputs=Schema([ColSpec(_mlflow_type(str), name, required=name == "reference") for name in COLUMNS]),
        outputs=Schema(
            [
                ColSpec(kind, name)
                for name, kind in ({"video": _mlflow_type(str)} | gives | {"seconds": seconds}).items()
            ]
        ),
        params=ParamSchema(params),
    )


def _mlflow_type(hint: Any) -> Any:
    """MLflow's type of a value that may be None; choices are strings."""
    from mlflow.types import DataType

    (kind,) = {type(choice) if isinstance(choice, str) else choice for choice in _members(hint)} - {type(None)}
    return {int: DataType.long, float: DataType.double, bool: DataType.boolean, str: DataType.string}[kind]


def _members(hint: Any) -> list[Any]:
    return [inner for part in get_args(hint) for inner in _members(part)] or [hint]


def example_request() -> dict[str, str]:
    """A small request with a generated dancer, so that no real person is shown, and two frames of motion."""
    with tempfile.TemporaryDirectory() as folder:
        (video,) = write_dancers(folder, 1, seconds=2 / 30, width=64, height=112, fps=30, seed=0, workers=1)
        picture = encode_png(next(iter(read_frames(video))))
        keypoints = video.with_suffix(".npz").read_bytes()
    return {"reference": base64.b64encode(picture).decode(), "driving_keypoints": base64.b64encode(keypoints).decode()}


def requirements() -> list[str]:
    """Requirements of the served model: its packages in the installed versions."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]
