"""The whole chain on two real clips, as a user starts it; then again with other settings; in soak with killings."""

import hashlib
import json
import random
import shutil
import time
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow import MlflowClient

from hia.models.animation_model import load_model
from hia.video import probe
from orchestration.run_all import main
from tests.e2e.pipeline import (
    CLIPS,
    folder_of,
    run_all,
    run_and_kill,
    training_worker,
    weights,
    write_config,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("real clips")]

STAGES = (
    "preprocess",
    "spatial",
    "regional",
    "temporal_half",
    "temporal_full",
    "evaluate",
    "export",
    "register",
    "sample",
)


@pytest.fixture(scope="module")
def real(sample_data, tmp_path_factory):
    """Two real clips with their keypoints, and a configuration that keeps one of them for testing."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "videos").mkdir()
    for name in CLIPS:
        shutil.copy(sample_data / "clips" / f"{name}.mp4", folder / "videos")
        shutil.copy(sample_data / "keypoints" / f"{name}.npz", folder / "videos")
    (folder / "test.txt").write_text(f"{CLIPS[1]}.mp4\n")
    preprocess = {"latents": True, "longest_seconds": 3.0, "test_list": str(folder / "test.txt")}
    return folder, write_config(folder, preprocess=preprocess)


@pytest.fixture(scope="module")
def undisturbed(real):
    """A run from nothing to its end."""
    folder, config = real
    ended = run_all("--preset", config, "--data", folder / "videos", "--set", f"storage={folder / 'storage'}")
    assert ended.status == 0, ended.err[-3000:]
    return folder / "storage", ended


def client_of(storage: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")


def runs_of(storage: Path) -> dict[str, mlflow.entities.Run]:
    client = client_of(storage)
    experiment = client.get_experiment_by_name("hia")
    return {run.data.tags.get("stage", "pipeline"): run for run in client.search_runs([experiment.experiment_id])}


def exported(storage: Path) -> dict[str, str]:
    """Digests of the exported weights."""
    model = folder_of(storage, "export") / "model"
    files = sorted(model.rglob("*.safetensors"))
    assert files
    return {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_it_ends_with_a_model_a_video_and_the_commands_to_use_them(undisturbed):
    storage, ended = undisturbed
    model = folder_of(storage, "export") / "model"
    assert load_model(model).animator.has_motion
    assert probe(folder_of(storage, "sample") / "sample.mp4").num_frames > 1
    for said in ("mlflow ui --backend-store-uri", "hia animate --model", "mlflow models serve", "repeat the reference"):
        assert said in ended.out, said


def test_every_stage_has_a_finished_run_under_one_parent(undisturbed):
    runs = runs_of(undisturbed[0])
    assert set(runs) == {*STAGES, "pipeline"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs["pipeline"].info.run_id
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in STAGES} == {parent}


def test_training_is_recorded(undisturbed):
    storage, _ = undisturbed
    client, runs = client_of(storage), runs_of(storage)
    for name in ("spatial", "regional", "temporal_half", "temporal_full"):
        run = runs[name]
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
        assert steps == sorted(set(steps)) and steps[-1] == (8 if name == "spatial" else 4)
        assert {"samples_per_second", "seconds/forward", "validation/loss", "learning_rate"} <= set(run.data.metrics)
        artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"weights", "samples"} <= artifacts


def test_gamma_is_one_value_from_the_first_stage_to_the_exported_model(undisturbed):
    storage, _ = undisturbed
    exported = load_model(folder_of(storage, "export") / "model").config
    told = {float(run.data.tags["gamma"]) for run in runs_of(storage).values()}
    assert told == {exported.gamma} and exported.schedule.gamma == exported.gamma


def test_it_registers_the_model(undisturbed):
    client = client_of(undisturbed[0])
    assert client.get_model_version_by_alias("hia", "champion").version


@pytest.fixture
def planned(real, undisturbed, capsys):
    """`planned(*changes)`: what the same command, with changed settings, would do with each stage."""

    def plan(*changes: str) -> dict[str, str]:
        folder, config = real
        arguments = ["--preset", config, "--data", folder / "videos", "--set", f"storage={undisturbed[0]}", *changes]
        assert main([*map(str, arguments), "--dry-run"]) == 0, capsys.readouterr().err
        lines = map(str.split, capsys.readouterr().out.splitlines())
        return {words[0]: words[1] for words in lines if words and words[0] in STAGES}

    return plan


def test_a_second_run_reuses_everything(planned):
    assert planned() == dict.fromkeys(STAGES, "reuse")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("sampling.guidance_scale=2.0", {"evaluate", "export", "register", "sample"}),
        ("stages.regional.losses.face=2.0", {*STAGES} - {"preprocess", "spatial"}),
        ("schedule.gamma=0.5", {*STAGES} - {"preprocess"}),
        ("training.workers=1", set()),
    ],
)
def test_what_a_change_makes_run_again(planned, change, again):
    assert {name for name, action in planned(change).items() if action == "run"} == again


@pytest.mark.soak
def test_killed_twice_it_ends_with_the_same_weights(real, undisturbed, tmp_path):
    """Two stages are trained again, with killings; those between are reused, as they would start from the same.

    The other tests of `make soak` have more moments, on dancers, in chains that run as a whole. `make test` kills
    workers, machines and drivers of single stages (`tests/orchestration/training`) and of sweeps of toy stages.
    """
    folder, config = real
    storage = tmp_path / "storage"
    again = {"spatial", "temporal_half", "export", "mlflow.db", "artifacts", ".storage"}
    shutil.copytree(undisturbed[0], storage, ignore=lambda place, _: again if place == str(undisturbed[0]) else set())
    arguments = ["--preset", config, "--data", folder / "videos", "--set", f"storage={storage}"]
    pause = random.Random(1)

    def a_worker_after_its_first_checkpoint(driver):
        stage = folder_of(storage, "spatial")
        if stage and any(stage.glob("checkpoints/step_*")):
            time.sleep(pause.uniform(0, 0.5))
            return training_worker(driver, rank=1)
        return None

    def the_driver_while_a_checkpoint_is_written(driver):
        stage = folder_of(storage, "temporal_half")
        return driver if stage and any(stage.glob("checkpoints/.step_*")) else None

    def both(driver):
        if not killed and (worker := a_worker_after_its_first_checkpoint(driver)):
            killed.append("worker")
            worker.kill()
        return the_driver_while_a_checkpoint_is_written(driver)

    killed: list[str] = []
    assert run_and_kill(arguments, both, tmp_path / "log") == -9, (tmp_path / "log").read_text()[-3000:]
    assert killed == ["worker"]
    ended = run_all(*arguments)
    assert ended.status == 0, ended.err[-3000:]
    ours, expected = weights(storage), weights(undisturbed[0])
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    assert exported(storage) == exported(undisturbed[0])
    runs = runs_of(storage)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for stage in ("spatial", "regional", "temporal_half", "temporal_full"):
        left = {path.name for path in folder_of(storage, stage).iterdir()}
        assert not left & {"checkpoints", "ray"}, "a finished stage needs them no more"
    client = client_of(storage)
    steps = [metric.step for metric in client.get_metric_history(runs["spatial"].info.run_id, "loss")]
    assert sorted(steps) == sorted(set(steps)), "no step is told twice"


def test_the_figures_are_in_json_too(undisturbed):
    summary = json.loads((folder_of(undisturbed[0], "evaluate") / "summary.json").read_text())
    assert summary["split"] == "test" and {"psnr", "repeat_reference/psnr", "codec_cap/psnr"} <= set(summary["metrics"])
