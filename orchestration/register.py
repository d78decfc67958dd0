"""From trained weights to a model directory, and from that to a version in MLflow's model registry."""

import base64
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import hia
from hia.config import Config
from hia.data.store import open_store
from hia.data.synthetic import write_dancers
from hia.evaluation.clips import BASELINE, CAP
from hia.evaluation.settings import ALWAYS
from hia.models.export import load_model, save_model
from hia.serving.generate import PHASES, Result
from hia.serving.limits import Limits
from hia.serving.loading import LIMITS, WATERMARK, digest_of
from hia.serving.schema import COLUMNS, Params
from hia.video import read_frames
from orchestration.chain.stage import StageRun
from orchestration.evaluate import SUMMARY, encoded_png, trained_model, trained_weights
from orchestration.metric_names import metric_prefix

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

    from orchestration.tracking import Server

MODEL = "model"
NAME = "hia"
CHAMPION = "champion"
ASIDE = ".pyfunc."
SERVED = Path(hia.__file__).parent / "serving" / "model.py"
# What the served model imports; it needs neither Ray nor DeepSpeed.
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


# -------------------------------------------------------------------------------------------------- model directory


def export(run: StageRun) -> dict[str, float]:
    """Write the trained model's directory, and read it back; returns its size in MB and its γ."""
    store = open_store(run.store, check="none")
    folder = run.folder / MODEL
    save_model(trained_model(portable(run.config), trained_weights(run), store), folder)
    model = load_model(folder)  # all files there, unaltered, and fit to be used
    run.journal.artifact(MODEL, MODEL)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"megabytes": size / 1e6, "gamma": model.config.gamma}


def portable(config: Config) -> Config:
    """The configuration without the places of this machine, which are no property of a model."""
    defaults = Config(preset=config.preset)
    return replace(config, storage=defaults.storage, data=defaults.data)


# --------------------------------------------------------------------------------------------------------- registry


def register(run: StageRun) -> dict[str, float]:
    """Make the exported model a version of the registered model `hia`, with its metrics as tags; returns its number.

    It becomes the champion (`models:/hia@champion`) when there is none yet, or when it is better than the present one.
    The newest version is always `models:/hia/latest`. A version that an earlier, killed execution has registered is
    found again.
    """
    server = run.run.server
    summary = json.loads((run.inputs["evaluate"] / SUMMARY).read_text(encoding="utf-8"))
    # MLflow's registry looks for the model that a version is made of there, whatever its client was told.
    with _environment(MLFLOW_TRACKING_URI=server.uri, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false"):
        found = server.ask("looking for the model", lambda: _registered(server.client, run.fingerprint))
        version = found or _register(server, run, summary)
        server.ask("choosing the champion", lambda: _crown(server.client, version))
    return {"version": float(version.version)}


def better(tags: Mapping[str, str], champions: Mapping[str, str]) -> tuple[bool, str]:
    """Whether a version is better than the champion, told by both versions' tags (see `tags_of`); and why, in words.

    PSNRs can be compared when they are of the same frames of the same clips. A model that was evaluated on clips kept
    out of training is preferred to one that was not. The champion's own weights, registered anew, take its place: what
    has changed is the code that comes with them.
    """
    if tags["truth"] == champions.get("truth"):
        name = f"{metric_prefix(tags['split'])}psnr"
        ours, theirs = float(tags[name]), float(champions[name])
        if ours == theirs and tags.get("model", "") == champions.get("model"):
            return True, "the champion's weights, with newer code"
        return ours > theirs, f"{name} {ours:.2f} dB, the champion's {theirs:.2f} dB"
    if tags["split"] == "test" and champions.get("split") != "test":
        return True, "the champion was not evaluated on clips kept out of training"
    return False, "the champion was evaluated on other clips: their PSNRs cannot be compared"


def tags_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a version's tags say of its evaluation: the model's metrics by name, and what they were measured on.

    Of baselines only the measures of frames.
    """
    metrics = {name: f"{value:.6g}" for name, value in summary["metrics"].items() if _is_telling(name)}
    return metrics | {"split": summary["split"], "truth": summary["truth"]}


def _is_telling(name: str) -> bool:
    *_, method, metric = ("", *name.split("/"))
    return method not in (BASELINE, CAP) or metric in ALWAYS


def _registered(client: "MlflowClient", fingerprint: str) -> "ModelVersion | None":
    found = client.search_model_versions(f"name = '{NAME}' and tags.fingerprint = '{fingerprint}'")
    return next((version for version in found if version.status == "READY"), None)


def _register(server: "Server", run: StageRun, summary: Mapping[str, Any]) -> "ModelVersion":
    client, run_id = server.client, run.run.id
    logged = server.ask(
        "beginning the model",
        lambda: client.create_logged_model(run.run.experiment_id, name=NAME, source_run_id=run_id),
    )
    for left in run.folder.glob(f"{ASIDE}*"):  # by an execution that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=run.folder, prefix=ASIDE) as aside:
        path = Path(aside) / "pyfunc"
        save_pyfunc(run.inputs["export"] / MODEL, path, run_id=run_id, model_id=logged.model_id)
        server.ask("uploading the model", lambda: client.log_model_artifacts(logged.model_id, str(path)))
    tags = tags_of(summary) | {"fingerprint": run.fingerprint, "preset": run.config.preset}
    tags["model"] = digest_of(run.inputs["export"] / MODEL)
    return server.ask("registering the model", lambda: _make_version(client, logged, run_id, tags))


def _make_version(client: "MlflowClient", logged: "LoggedModel", run_id: str, tags: dict[str, str]) -> "ModelVersion":
    """The version of a model that has been uploaded; one only, however often this is repeated."""
    from mlflow.entities import LoggedModelOutput

    if (made := _registered(client, tags["fingerprint"])) is not None:
        return made
    client.finalize_logged_model(logged.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    if logged.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    _make_name(client)
    made = client.create_model_version(
        NAME, source=logged.model_uri, run_id=run_id, model_id=logged.model_id, tags=tags
    )
    versions = json.dumps([{"name": NAME, "version": str(made.version)}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": versions})  # for MLflow's page
    return made


def _make_name(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _crown(client: "MlflowClient", version: "ModelVersion") -> None:
    """Make a version the champion if it is the first, or the better one; a tag tells why it is or is not."""
    champion = _champion(client)
    if champion is not None and champion.version == version.version:
        return
    first = champion is None, "the first version"
    is_better, why = first if champion is None else better(version.tags, champion.tags)
    client.set_model_version_tag(NAME, version.version, "champion", f"{'yes' if is_better else 'no'}: {why}")
    if is_better:
        client.set_registered_model_alias(NAME, CHAMPION, version.version)


def _champion(client: "MlflowClient") -> "ModelVersion | None":
    alias = client.get_registered_model(NAME).aliases.get(CHAMPION)
    return client.get_model_version(NAME, str(alias)) if alias else None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# -------------------------------------------------------------------------------------------------- the MLflow model


def save_pyfunc(model: Path, path: Path, run_id: str | None = None, model_id: str | None = None) -> None:
    """Write an MLflow model of a model directory: code, safetensors and JSON, no pickles.

    run_id, model_id: what it belongs to in the tracking server.
    """
    import pandas
    from mlflow import pyfunc
    from mlflow.models import Model

    package = Path(hia.__file__).parent
    with tempfile.TemporaryDirectory() as aside:
        # What Python has compiled beside the sources is no source: nobody can read it.
        shutil.copytree(package, Path(aside) / package.name, ignore=shutil.ignore_patterns("__pycache__"))
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
    """What the served model takes and gives, see `hia.serving.schema` and `hia.serving.model`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Object, Property

    params = [
        ParamSpec(name, _mlflow_type(kind), getattr(Params, name)) for name, kind in get_type_hints(Params).items()
    ]
    seconds = Object([Property(name, _mlflow_type(float)) for name in PHASES])
    gives = {
        name: _mlflow_type(kind) for name, kind in get_type_hints(Result).items() if name not in ("data", "seconds")
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
    """MLflow's name for the type of a value that may be None; choices are texts."""
    from mlflow.types import DataType

    (kind,) = {type(choice) if isinstance(choice, str) else choice for choice in _members(hint)} - {type(None)}
    return {int: DataType.long, float: DataType.double, bool: DataType.boolean, str: DataType.string}[kind]


def _members(hint: Any) -> list[Any]:
    return [inner for part in get_args(hint) for inner in _members(part)] or [hint]


def example_request() -> dict[str, str]:
    """A small request: a generated dancer, so that nobody's picture is handed on, and two frames of their motion."""
    with tempfile.TemporaryDirectory() as folder:
        (video,) = write_dancers(folder, 1, seconds=2 / 30, width=64, height=112, fps=30, seed=0, workers=1)
        picture = encoded_png(next(iter(read_frames(video))))
        keypoints = video.with_suffix(".npz").read_bytes()
    return {"reference": base64.b64encode(picture).decode(), "driving_keypoints": base64.b64encode(keypoints).decode()}


def requirements() -> list[str]:
    """Packages that the served model needs, in the versions with which it was made."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]
