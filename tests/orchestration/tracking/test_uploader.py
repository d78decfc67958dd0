"""A stage's journal reaches its run: everything, once."""

import json
import time
from pathlib import Path

import pytest

from hia.video import write_video
from orchestration.tracking import JournalUploader, Run, Tracking, TrackingRefused
from orchestration.tracking.journal import JournalWriter
from tests.orchestration.tracking.seen import CONFIG, artifact, history, seen, wait_until


def test_what_a_stage_tells_reaches_its_run(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    writer.metrics(1, {"loss": 0.5})
    with JournalUploader(stage, tmp_path):
        writer.metrics(2, {"loss": 0.25, "samples_per_second": 7})
    assert history(stage, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(stage, "samples_per_second") == [(2, 7.0)]


def test_metrics_come_while_the_stage_goes_on(stage: Run, tmp_path: Path) -> None:
    with JournalUploader(stage, tmp_path, interval=0.05):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 0.5})
        wait_until(lambda: "loss" in seen(stage).data.metrics)


def test_metrics_have_the_time_at_which_they_were_measured(stage: Run, tmp_path: Path) -> None:
    line = {"time": 1_600_000_000_000, "step": 4, "metrics": {"loss": 1.5}}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n")
    with JournalUploader(stage, tmp_path):
        pass
    (metric,) = stage.server.client.get_metric_history(stage.id, "loss")
    assert (metric.timestamp, metric.step, metric.value) == (1_600_000_000_000, 4, 1.5)


def test_videos_and_pictures_are_kept_where_they_were_asked_to_be(stage: Run, tmp_path: Path) -> None:
    import numpy

    (tmp_path / "samples").mkdir()
    frames = numpy.zeros((4, 32, 32, 3), numpy.uint8)
    write_video(tmp_path / "samples" / "step_000010.mp4", frames, fps=8)
    JournalWriter(tmp_path / "journal.jsonl").artifact("samples/step_000010.mp4", "samples")
    with JournalUploader(stage, tmp_path):
        pass
    kept = artifact(stage, "samples/step_000010.mp4", tmp_path.parent)
    assert kept.read_bytes() == (tmp_path / "samples" / "step_000010.mp4").read_bytes()


def test_more_metrics_than_a_request_takes_are_sent(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    names = [f"bin/{number}" for number in range(1700)]
    for step in (1, 2):
        writer.metrics(step, dict.fromkeys(names, 0.5))
    with JournalUploader(stage, tmp_path):
        pass
    assert set(names) <= set(seen(stage).data.metrics)
    assert history(stage, names[0]) == history(stage, names[-1]) == [(1, 0.5), (2, 0.5)]


def test_steps_that_a_restarted_stage_repeats_are_sent_once(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    for step in (10, 20, 30):
        writer.metrics(step, {"loss": step, "time": step})
    with JournalUploader(stage, tmp_path):
        pass
    with JournalUploader(stage, tmp_path):  # after the restart; it logs more, and more often
        for step in (20, 25, 30, 35):
            writer.metrics(step, {"loss": step, "time": step + 0.5, "face": 1})
            writer.metrics(step, {"loss": step + 100})
    assert sorted(history(stage, "loss")) == [(10, 10), (20, 20), (25, 25), (30, 30), (35, 35)]
    assert sorted(history(stage, "time")) == [(10, 10), (20, 20), (25, 25.5), (30, 30), (35, 35.5)]
    assert sorted(step for step, _ in history(stage, "face")) == [20, 25, 30, 35]


def test_following_again_without_the_note_of_what_was_sent_sends_nothing_twice(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    for step in (1, 2):
        writer.metrics(step, {"loss": step})
    with JournalUploader(stage, tmp_path):
        pass
    (tmp_path / "journal.jsonl").unlink()
    (tmp_path / "journal.sent.json").unlink()
    for step in (1, 2, 3):  # an execution that began anew
        writer.metrics(step, {"loss": step * 10})
    with JournalUploader(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_what_is_sent_again_because_its_receipt_was_lost_is_there_once(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    for step in range(5):
        writer.metrics(step, {"loss": step, "nan": float("nan")})
    with JournalUploader(stage, tmp_path):
        pass
    note = {"mlflow_run_id": stage.id, "position": 0}
    (tmp_path / "journal.sent.json").write_text(json.dumps(note))
    writer.metrics(5, {"loss": 5})
    with JournalUploader(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(step, float(step)) for step in range(6)]
    assert [step for step, _ in history(stage, "nan")] == list(range(5))


def test_another_run_of_the_same_folder_gets_everything(tracking: Tracking, mark: str, stage: Run, tmp_path: Path):
    JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
    with JournalUploader(stage, tmp_path):
        pass
    stage.finish("FINISHED")
    other = tracking.start_stage(tracking.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    with JournalUploader(other, tmp_path):
        pass
    assert history(other, "loss") == [(1, 1.0)]


def test_what_is_not_finite_reaches_the_run(stage: Run, tmp_path: Path) -> None:
    JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"a": float("nan"), "b": float("inf")})
    with JournalUploader(stage, tmp_path):
        pass
    metrics = seen(stage).data.metrics
    assert metrics["a"] != metrics["a"] and metrics["b"] > 1e300


def test_an_artifact_that_was_removed_since_is_told_of_and_holds_up_nothing(
    stage: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    writer.artifact("samples/gone.mp4", "samples")
    writer.metrics(1, {"loss": 1})
    with JournalUploader(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0)]
    assert "gone.mp4" in capfd.readouterr().err


def test_system_metrics_are_recorded_by_the_second_of_the_run(stage: Run, tmp_path: Path) -> None:
    with JournalUploader(stage, tmp_path, system_interval=0.1):
        wait_until(lambda: "system/cpu_utilization_percentage" in seen(stage).data.metrics)
    seconds = time.time() - stage.started / 1000
    metrics = seen(stage).data.metrics
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)
    assert metrics["system/system_memory_usage_megabytes"] > 100
    steps = [step for step, _ in history(stage, "system/cpu_utilization_percentage")]
    assert steps == sorted(steps) and 0 <= steps[-1] <= seconds


def test_an_error_of_the_stage_is_not_hidden_and_what_it_told_is_sent(stage: Run, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the stage's own"), JournalUploader(stage, tmp_path):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
        raise RuntimeError("the stage's own")
    assert history(stage, "loss") == [(1, 1.0)]


def test_a_run_that_was_deleted_meanwhile_is_told_of_at_the_end(
    stage: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.server.client.delete_run(stage.id)
    with pytest.raises(TrackingRefused, match="deleted"), JournalUploader(stage, tmp_path):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
    assert "the stage goes on" in capfd.readouterr().err
    stage.server.client.restore_run(stage.id)
    with JournalUploader(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0)]
