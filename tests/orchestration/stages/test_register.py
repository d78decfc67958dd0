"""The model directory of trained weights, and its version in MLflow's registry."""

import base64
import json
import os
import py_compile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas
import pytest
import torch
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

import hia
from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import driving_signal
from hia.data.store.clip_store import open_store
from hia.images import load_image
from hia.io.files import write_json
from hia.models.animation_model import load_model
from hia.models.parts import part_parameters
from hia.pose.keypoint_files import load_keypoints
from hia.serving.schema import COLUMNS, PARAMS
from hia.serving.watermark import Watermark
from hia.video import read_frames, write_video
from orchestration.names import REGISTERED_MODEL
from orchestration.stages.export import export
from orchestration.stages.pyfunc import example_request, requirements, save_pyfunc
from orchestration.stages.register import CHAMPION, better, register, tags_of
from orchestration.tracking import connect_tracking
from tests.evaluation.dancer_store import dancer_store
from tests.orchestration.trained_run import Trained, artifacts, random_animator, tiny_config, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("register")
    return trained(folder / "runs", dancer_store(folder / "store"), tiny_config("data=/somewhere/else"))


@pytest.fixture(scope="module")
def exported(ready):
    run = ready.stage_run("export")
    return run, export(run)


@pytest.fixture(scope="module", autouse=True)
def database(ready) -> Iterator[None]:
    """Let MLflow's own functions, here and in the stage, use the database in the storage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{ready.storage / 'mlflow.db'}")
        yield


def evaluation(folder: Path, psnr: float, truth: str = "truth A", split: str = "test") -> Path:
    """The folder of a finished stage `evaluate`."""
    prefix = "" if split == "test" else "split_train/"
    metrics = {f"{prefix}psnr": psnr, f"{prefix}repeat_reference/psnr": 11.5}
    folder.mkdir(exist_ok=True)
    write_json(folder / "summary.json", {"split": split, "truth": truth, "metrics": metrics})
    return folder


@pytest.fixture(scope="module")
def registered(ready, exported):
    """Two versions of the model, registered in this order, and a function that registers further ones."""
    tracking = connect_tracking(ready.storage)
    parent = tracking.start_pipeline("chain", {}, {})

    def add(fingerprint: str, psnr: float, **about: str) -> int:
        stage = tracking.start_stage(parent, "register", fingerprint, {}, {})
        inputs = {"export": exported[0].folder, "evaluate": evaluation(ready.storage / "evaluate", psnr, **about)}
        run = replace(ready.stage_run(f"register_{fingerprint}", run=stage, **inputs), fingerprint=fingerprint)
        version = register(run)["version"]
        stage.finish("FINISHED")
        return int(version)

    assert (add("a", 15.0), add("b", 14.0)) == (1, 2)
    return add


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


def logged_models(ready: Trained) -> list[LoggedModel]:
    experiment = connect_tracking(ready.storage).experiment_id
    return list(client().search_logged_models([experiment]))


def champion() -> int:
    return int(client().get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).version)


# -------------------------------------------------------------------------------------------------- model directory


def test_the_exported_model_has_the_trained_weights_to_the_bit(ready, exported):
    model = load_model(exported[0].folder / "model")
    expected = random_animator(ready.config)
    assert model.animator.has_motion
    for part in ("appearance_encoder", "controlnet", "unet", "motion"):
        found, weights = part_parameters(model.animator, part), part_parameters(expected, part)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_the_exported_model_carries_gamma_and_the_training_sets_sharpness(ready, exported):
    run, metrics = exported
    model = load_model(run.folder / "model")
    assert model.sharpness == open_store(ready.store).sharpness_scale and model.sharpness is not None
    assert model.config.schedule.gamma == ready.config.gamma == metrics["gamma"]


def test_the_exported_model_knows_no_places_of_this_machine(ready, exported):
    text = (exported[0].folder / "model" / "hia.json").read_text()
    assert str(ready.storage) not in text and "/somewhere/else" not in text


def test_the_model_directory_is_handed_to_the_tracking_server_as_a_folder(exported):
    run, metrics = exported
    assert artifacts(run) == {"model": "model"}
    assert metrics["megabytes"] == pytest.approx(
        sum(file.stat().st_size for file in (run.folder / "model").rglob("*") if file.is_file()) / 1e6
    )


def test_an_export_that_was_killed_is_simply_done_again(ready, exported):
    run, _ = exported
    before = {file.name: file.read_bytes() for file in (run.folder / "model").rglob("*") if file.is_file()}
    (run.folder / "model" / "unet" / "config.json").write_text("half")
    export(run)
    assert {file.name: file.read_bytes() for file in (run.folder / "model").rglob("*") if file.is_file()} == before


def test_weights_that_are_missing_fail_the_export(ready, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "unet.safetensors").write_bytes(b"damaged")
    run = ready.stage_run("export_damaged", spatial=tmp_path)
    with pytest.raises((ValueError, OSError), match=r"unet\.safetensors"):
        export(run)
    assert not (run.folder / "model").exists()


# --------------------------------------------------------------------------------------------------------- registry


def test_a_registered_model_animates_what_it_is_sent(ready, exported, registered, tmp_path):
    request = example_request()
    served = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/1")
    (answer,) = served.predict(pandas.DataFrame([request]), params={"seed": 3})
    for name in ("reference", "driving_keypoints"):
        (tmp_path / name).write_bytes(base64.b64decode(request[name]))
    (tmp_path / "answer.mp4").write_bytes(base64.b64decode(answer["video"]))
    model = load_model(exported[0].folder / "model")
    keypoints = load_keypoints(tmp_path / "driving_keypoints")
    driving = driving_signal(keypoints, model.config.width, model.config.height, default_sharpness(model))
    marked = map(Watermark().embed, animate(model, load_image(tmp_path / "reference"), driving, seed=3))
    write_video(tmp_path / "expected.mp4", marked, keypoints.fps)
    answered, expected = (np.stack(list(read_frames(tmp_path / f"{name}.mp4"))) for name in ("answer", "expected"))
    np.testing.assert_array_equal(answered, expected)
    assert answer["num_frames"] == len(keypoints) == len(answered)
    assert answer["version"].startswith(f"{REGISTERED_MODEL}/1 sha256:") and answer["seed"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "no base64!"}, "reference: this is no base64"),
        ({"reference": base64.b64encode(b"no picture").decode()}, "reference: not a readable image"),
        ({"driving_keypoints": base64.b64encode(b"no archive").decode()}, "driving_keypoints is no keypoint file"),
        ({"driving_keypoints": ""}, "one of driving_video and driving_keypoints is needed"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_as_the_clients_mistake(registered, change, message):
    served = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/1")
    with pytest.raises(MlflowException, match=message) as refused:
        served.predict(pandas.DataFrame([example_request() | change]))
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE" and "/tmp" not in str(refused.value)


def test_the_mlflow_model_holds_no_pickles_and_nothing_compiled(exported, tmp_path):
    py_compile.compile(hia.__file__)  # as Python does beside its sources, unless it is told not to
    folder = tmp_path / "pyfunc"
    save_pyfunc(exported[0].folder / "model", folder)
    suffixes = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert suffixes <= {".py", ".json", ".safetensors", ".yaml", ".txt", ".css", ".html", ".js", ""}, suffixes
    assert not [file for file in folder.rglob("*") if file.is_file() and file.read_bytes()[:2] == b"\x80\x04"]


def test_signature_and_example_say_what_is_taken_and_given(registered):
    info = mlflow.models.get_model_info(f"models:/{REGISTERED_MODEL}/1")
    assert tuple(info.signature.inputs.input_names()) == COLUMNS
    assert info.signature.inputs.required_input_names() == ["reference"]
    assert {"video", "num_frames", "seed", "version", "seconds"} <= set(info.signature.outputs.input_names())
    assert tuple(param.name for param in info.signature.params) == PARAMS
    example = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/1").input_example
    assert set(example.columns) == {"reference", "driving_keypoints"} and len(example) == 1


def test_the_requirements_are_the_versions_that_are_installed():
    found = dict(line.split("==") for line in requirements())
    assert found["torch"] == torch.__version__.partition("+")[0] and "ray" not in found and "deepspeed" not in found


def test_metrics_split_and_origin_are_the_versions_tags(registered):
    tags = client().get_model_version(REGISTERED_MODEL, "1").tags
    assert float(tags["psnr"]) == 15.0 and float(tags["repeat_reference/psnr"]) == 11.5
    assert (tags["split"], tags["fingerprint"], tags["preset"]) == ("test", "a", "tiny")


def test_a_version_belongs_to_the_run_of_its_stage(registered):
    version = client().get_model_version(REGISTERED_MODEL, "1")
    run = client().get_run(version.run_id)
    assert run.data.tags["fingerprint"] == "a"
    (output,) = run.outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    listed = json.loads(client().get_logged_model(output.model_id).tags["mlflow.modelVersions"])
    assert listed == [{"name": REGISTERED_MODEL, "version": "1"}]


def test_latest_is_the_newest_and_champion_the_best(registered):
    assert champion() == 1
    tags = client().get_model_version(REGISTERED_MODEL, "2").tags
    assert tags["champion"].startswith("no: psnr 14.00 dB, the champion's 15.00 dB")
    newest = registered("c", 16.0)
    latest = mlflow.models.get_model_info(f"models:/{REGISTERED_MODEL}/latest").model_id
    assert client().get_model_version(REGISTERED_MODEL, str(newest)).source == f"models:/{latest}"
    assert champion() == newest
    assert client().get_model_version(REGISTERED_MODEL, str(newest)).tags["champion"].startswith("yes: psnr 16.00 dB")


def test_a_model_evaluated_on_other_clips_does_not_depose_the_champion(registered):
    before = champion()
    version = registered("other clips", 99.0, truth="truth B")
    assert champion() == before != version
    assert "other clips" in client().get_model_version(REGISTERED_MODEL, str(version)).tags["champion"]


def test_registering_again_after_a_kill_makes_no_second_version(registered):
    assert registered("a", 15.0) == 1
    names = [version.tags["fingerprint"] for version in client().search_model_versions(f"name = '{REGISTERED_MODEL}'")]
    assert names.count("a") == 1


def test_nothing_is_left_of_what_was_written_aside(ready, registered):
    assert os.listdir(ready.storage / "register_a") == []
    assert not [model for model in logged_models(ready) if model.status != "READY"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"split": "test", "truth": "A", "psnr": "15"}, {"split": "test", "truth": "A", "psnr": "14"}, True),
        ({"split": "test", "truth": "A", "psnr": "14"}, {"split": "test", "truth": "A", "psnr": "14"}, False),
        (
            {"split": "test", "truth": "A", "psnr": "14", "model": "sha256:1"},
            {"split": "test", "truth": "A", "psnr": "14", "model": "sha256:1"},
            True,
        ),
        (
            {"split": "test", "truth": "A", "psnr": "14", "model": "sha256:1"},
            {"split": "test", "truth": "A", "psnr": "14", "model": "sha256:2"},
            False,
        ),
        ({"split": "test", "truth": "A", "psnr": "1"}, {"split": "train", "truth": "B"}, True),
        ({"split": "train", "truth": "B", "split_train/psnr": "40"}, {"split": "test", "truth": "A"}, False),
        (
            {"split": "train", "truth": "B", "split_train/psnr": "40"},
            {"split": "train", "truth": "B", "split_train/psnr": "30"},
            True,
        ),
        ({"split": "test", "truth": "A", "psnr": "15"}, {}, True),
    ],
)
def test_a_champion_is_deposed_by_a_better_model_of_the_same_truth_or_the_first_on_held_out_clips(
    ours, theirs, expected
):
    assert better(ours, theirs)[0] is expected


def test_a_metric_of_clips_trained_on_has_no_other_name_among_the_tags():
    summary = {"split": "train", "truth": "A", "metrics": {"split_train/psnr": 20.0}}
    assert set(tags_of(json.loads(json.dumps(summary)))) == {"split_train/psnr", "split", "truth"}
