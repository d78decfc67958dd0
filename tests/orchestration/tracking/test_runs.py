"""Runs that are found again and resumed; none is confused with another."""

from pathlib import Path
from typing import Any

import pytest

from orchestration.tracking import Run, Tracking, connect_tracking
from tests.orchestration.tracking.seen import CONFIG, seen


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_pipeline_that_has_ended_goes_on_in_its_run(tracking: Tracking, mark: str, status: Any) -> None:
    first = tracking.start_pipeline(mark, CONFIG, {})
    first.finish(status)
    assert seen(first).info.status == status
    second = tracking.start_pipeline(mark, CONFIG, {})
    assert second.id == first.id and seen(second).info.status == "RUNNING"


def test_pipelines_of_other_fingerprints_have_runs_of_their_own(tracking: Tracking, mark: str) -> None:
    assert tracking.start_pipeline(mark, CONFIG, {}).id != tracking.start_pipeline(mark[::-1], CONFIG, {}).id


def test_a_stage_is_a_child_of_its_pipeline(tracking: Tracking, mark: str) -> None:
    parent = tracking.start_pipeline(mark, CONFIG, {})
    child = seen(tracking.start_stage(parent, "spatial", mark, CONFIG, {}))
    assert (child.info.run_name, child.data.tags["mlflow.parentRunId"]) == ("spatial", parent.id)
    assert child.info.status == "RUNNING"


def test_an_unfinished_stage_goes_on_in_its_run_below_whichever_pipeline_runs_it_now(tracking: Tracking, mark: str):
    first = tracking.start_stage(tracking.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    first.finish("KILLED")
    other = tracking.start_pipeline(mark[::-1], CONFIG, {})
    second = tracking.start_stage(other, "spatial", mark, CONFIG, {})
    assert second.id == first.id and seen(second).info.status == "RUNNING"
    assert seen(second).data.tags["mlflow.parentRunId"] == other.id


def test_a_finished_stage_is_found_and_stays_as_it_is(tracking: Tracking, mark: str, stage: Run) -> None:
    assert tracking.find_finished("spatial", mark) is None
    stage.finish("FINISHED")
    assert tracking.find_finished("spatial", mark) == stage.id
    again = tracking.start_stage(tracking.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    assert again.id != stage.id and seen(stage).info.status == "FINISHED"


def test_only_the_same_stage_with_the_same_fingerprint_is_found(tracking: Tracking, mark: str, stage: Run) -> None:
    stage.finish("FINISHED")
    assert tracking.find_finished("regional", mark) is None
    assert tracking.find_finished("spatial", mark[::-1]) is None


def test_a_pipeline_is_not_taken_for_a_stage(tracking: Tracking, mark: str) -> None:
    tracking.start_pipeline(mark, CONFIG, {"stage": "spatial"}).finish("FINISHED")
    assert tracking.find_finished("spatial", mark) is None


def test_a_stage_that_has_failed_goes_on_without_its_old_error(tracking: Tracking, mark: str, stage: Run) -> None:
    stage.set_tags({"hia.error": "no luck"})
    stage.finish("FAILED")
    again = tracking.start_stage(tracking.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    assert again.id == stage.id and "hia.error" not in seen(again).data.tags


def test_an_unfinished_stage_of_another_storage_is_left_alone(
    tracking: Tracking, mark: str, stage: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.finish("KILLED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.server.uri)
    elsewhere = connect_tracking(tmp_path)
    other = elsewhere.start_stage(elsewhere.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    assert other.experiment_id == stage.experiment_id and other.id != stage.id


def test_a_finished_stage_of_another_storage_is_found(
    tracking: Tracking, mark: str, stage: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.finish("FINISHED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.server.uri)
    assert connect_tracking(tmp_path).find_finished("spatial", mark) == stage.id
