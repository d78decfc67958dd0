"""The register stage: a version in MLflow's model registry, and the choice of the champion."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hia.config.evaluation import ALWAYS
from hia.evaluation.protocol.clips import BASELINE, CAP
from hia.serving.loading import digest_of
from orchestration.chain.stage import StageRun
from orchestration.names import EVALUATE, EXPORT, MODEL, REGISTERED_MODEL, SUMMARY
from orchestration.stages.pyfunc import save_pyfunc
from orchestration.tracking.journal import metric_prefix

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from orchestration.tracking import Server


CHAMPION = "champion"
# Not the prefix of `hia.io.files`: the journal's uploader writes such temporary files in the same folder meanwhile.
ASIDE = ".pyfunc."


def register(run: StageRun) -> dict[str, float]:
    """Make the exported model a version of the registered model `hia`, with its metrics as tags; returns its number.

    It becomes the champion (`models:/hia@champion`) when there is none yet, or when it is better than the present one.
    The newest version is always `models:/hia/latest`. A version that an earlier, killed execution has registered is
    found again.
    """
    server = run.run.server
    summary = json.loads((run.inputs[EVALUATE] / SUMMARY).read_text(encoding="utf-8"))
    # MLflow's registry looks there for the model of a version, whatever address its client has.
    with _environment(MLFLOW_TRACKING_URI=server.uri, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false"):
        found = server.call_with_retry("looking for the model", lambda: _registered(server.client, run.fingerprint))
        version = found or _register(server, run, summary)
        server.call_with_retry("choosing the champion", lambda: _promote_if_better(server.client, version))
    return {"version": float(version.version)}


def better(tags: Mapping[str, str], champions: Mapping[str, str]) -> tuple[bool, str]:
    """Compare a version with the champion by both versions' tags (see `tags_of`): whether it is better, and why.

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
    """Tags of a version: the model's metrics by name, and the split and frames that they were measured on.

    Of baselines, only the metrics of single frames are included.
    """
    metrics = {name: f"{value:.6g}" for name, value in summary["metrics"].items() if _is_telling(name)}
    return metrics | {"split": summary["split"], "truth": summary["truth"]}


def _is_telling(name: str) -> bool:
    *_, method, metric = ("", *name.split("/"))
    return method not in (BASELINE, CAP) or metric in ALWAYS


def _registered(client: "MlflowClient", fingerprint: str) -> "ModelVersion | None":
    found = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and tags.fingerprint = '{fingerprint}'")
    return next((version for version in found if version.status == "READY"), None)


def _register(server: "Server", run: StageRun, summary: Mapping[str, Any]) -> "ModelVersion":
    client, run_id = server.client, run.run.id
    logged = server.call_with_retry(
        "beginning the model",
        lambda: client.create_logged_model(run.run.experiment_id, name=REGISTERED_MODEL, source_run_id=run_id),
    )
    for left in run.folder.glob(f"{ASIDE}*"):  # by an execution that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=run.folder, prefix=ASIDE) as aside:
        path = Path(aside) / "pyfunc"
        save_pyfunc(run.inputs[EXPORT] / MODEL, path, run_id=run_id, model_id=logged.model_id)
        server.call_with_retry("uploading the model", lambda: client.log_model_artifacts(logged.model_id, str(path)))
    tags = tags_of(summary) | {"fingerprint": run.fingerprint, "preset": run.config.preset}
    tags["model"] = digest_of(run.inputs[EXPORT] / MODEL)
    return server.call_with_retry("registering the model", lambda: _make_version(client, logged, run_id, tags))


def _make_version(client: "MlflowClient", logged: "LoggedModel", run_id: str, tags: dict[str, str]) -> "ModelVersion":
    """Create the version of an uploaded model; repeated calls create no second one."""
    from mlflow.entities import LoggedModelOutput

    if (made := _registered(client, tags["fingerprint"])) is not None:
        return made
    client.finalize_logged_model(logged.model_id, "READY")
    outputs = client.get_run(run_id).outputs
    if logged.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    _make_name(client)
    made = client.create_model_version(
        REGISTERED_MODEL, source=logged.model_uri, run_id=run_id, model_id=logged.model_id, tags=tags
    )
    versions = json.dumps([{"name": REGISTERED_MODEL, "version": str(made.version)}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": versions})  # for MLflow's page
    return made


def _make_name(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _promote_if_better(client: "MlflowClient", version: "ModelVersion") -> None:
    """Make a version the champion if it is the first, or the better one; a tag tells why it is or is not."""
    champion = _champion(client)
    if champion is not None and champion.version == version.version:
        return
    first = champion is None, "the first version"
    is_better, why = first if champion is None else better(version.tags, champion.tags)
    client.set_model_version_tag(
        REGISTERED_MODEL, version.version, "champion", f"{'yes' if is_better else 'no'}: {why}"
    )
    if is_better:
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version.version)


def _champion(client: "MlflowClient") -> "ModelVersion | None":
    alias = client.get_registered_model(REGISTERED_MODEL).aliases.get(CHAMPION)
    return client.get_model_version(REGISTERED_MODEL, str(alias)) if alias else None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables that are set within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
