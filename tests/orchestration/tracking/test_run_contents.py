"""The content of runs: enough to search for them, and to repeat them."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hia.config import Config, load_config
from orchestration.tracking import Run, Tracking, environment
from tests.conftest import REPOSITORY
from tests.orchestration.tracking.seen import CONFIG, artifact, seen


def test_parameters_are_named_by_their_path_in_the_configuration(stage: Run) -> None:
    assert seen(stage).data.params == {
        "preset": "tiny",
        "seed": "3",
        "stages.spatial.iterations": "200",
        "stages.spatial.trains": '["unet"]',
        "data": "null",
    }


def test_long_parameters_and_tags_are_cut(stage: Run) -> None:
    stage.log_params({"long": "x" * 9000})
    stage.set_tags({"long": "x" * 9000})
    assert seen(stage).data.params["long"] == "x" * 499 + "…"
    assert seen(stage).data.tags["long"] == "x" * 4999 + "…"


def test_more_parameters_than_a_request_takes_are_logged(stage: Run) -> None:
    stage.log_params({f"value_{number}": number for number in range(250)})
    assert sum(name.startswith("value_") for name in seen(stage).data.params) == 250


def test_a_changed_parameter_of_a_resumed_run_stays_and_is_told_of(tracking: Tracking, mark: str, stage: Run) -> None:
    parent = tracking.start_pipeline(mark, CONFIG, {})
    again = tracking.start_stage(parent, "spatial", mark, CONFIG | {"seed": 4, "new": 1}, {})
    found = seen(again).data
    assert again.id == stage.id and (found.params["seed"], found.params["new"]) == ("3", "1")
    assert found.tags["hia.changed"] == "seed: 3 → 4"


def test_the_configuration_of_a_run_can_be_run_again(
    tracking: Tracking, mark: str, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config("stages.spatial.iterations=7", "seed=5")
    run = tracking.start_pipeline(mark, dataclasses.asdict(config), {})
    assert load_config(artifact(run, "config.yaml", tmp_path)) == config


def test_a_run_holds_what_it_was_made_with(stage: Run, tmp_path: Path) -> None:
    kept = json.loads(artifact(stage, "environment.json", tmp_path).read_text())
    assert kept == environment()
    assert kept["packages"]["mlflow"] and kept["python"] == ".".join(map(str, sys.version_info[:3]))
    assert kept["command"].startswith("python ") and kept["host"] == os.uname().nodename


def test_the_commit_is_that_of_the_repository(stage: Run) -> None:
    git = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or None
    assert environment()["commit"] == commit
    assert seen(stage).data.tags.get("mlflow.source.git.commit") == commit


def test_runs_can_be_looked_for_by_their_tags(tracking: Tracking, mark: str) -> None:
    parent = tracking.start_pipeline(mark, CONFIG, {"preset": "tiny", "gamma": "0.5", "omega": "3.5"})
    stage = tracking.start_stage(parent, "spatial", mark, CONFIG, {"data_fingerprint": mark})
    wanted = f"tags.stage = 'spatial' and tags.fingerprint = '{mark}' and tags.data_fingerprint = '{mark}'"
    found = tracking.server.client.search_runs([tracking.experiment_id], wanted)
    assert [run.info.run_id for run in found] == [stage.id]
    wanted = f"tags.omega = '3.5' and tags.gamma = '0.5' and tags.fingerprint = '{mark}'"
    assert [run.info.run_id for run in tracking.server.client.search_runs([tracking.experiment_id], wanted)] == [
        parent.id
    ]


def test_a_run_says_how_it_is_repeated(stage: Run, mark: str) -> None:
    note = seen(stage).data.tags["mlflow.note.content"]
    assert "`spatial`" in note and mark in note and "run_all.py --preset config.yaml" in note


@dataclass(frozen=True)
class Outcome:
    name: str
    action: str
    seconds: float
    run_id: str | None


def test_a_pipeline_names_its_stages_and_those_that_other_pipelines_made(
    tracking: Tracking, mark: str, stage: Run
) -> None:
    stage.finish("FINISHED")
    parent = tracking.start_pipeline(mark[::-1], CONFIG, {})
    own = tracking.start_stage(parent, "regional", mark, CONFIG, {})
    outcomes = [Outcome("spatial", "reuse", 3.2, stage.id), Outcome("regional", "run", 61.0, own.id)]
    parent.note_stages(outcomes)
    parent.note_stages(outcomes)
    note = seen(parent).data.tags["mlflow.note.content"]
    assert note.count("## Stages") == 1 and "config.yaml" in note
    assert f"| spatial | reused, made by another pipeline | 3 s | [spatial]({stage.place}) |" in note
    assert f"| regional | ran | 61 s | [regional]({own.place}) |" in note


def test_folders_are_kept_with_what_is_in_them(stage: Run, tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"12345")
    stage.log_artifact(tmp_path / "model", "model")
    assert artifact(stage, "model/deep/weights", tmp_path / "model").read_bytes() == b"12345"


def test_a_file_that_is_not_there_cannot_be_kept(stage: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        stage.log_artifact(tmp_path / "nothing.mp4")
