"""Tracking on a database file: runs are found again, nothing is left RUNNING, journals reach their runs."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run as Seen

from hia.config import Config
from hia.config_files import load_config
from hia.video import write_video
from orchestration.journal import JournalWriter
from orchestration.tracking import (
    Following,
    Run,
    Tracking,
    TrackingAway,
    TrackingRefused,
    connect_tracking,
    connection,
    environment,
)

REPOSITORY = Path(__file__).parents[2]
CONFIG = {"preset": "tiny", "seed": 3, "stages": {"spatial": {"iterations": 200, "trains": ["unet"]}}, "data": None}

DRIVER = """
import sys, time
from orchestration.tracking import connect_tracking
tracking = connect_tracking(sys.argv[1])
parent = tracking.start_pipeline(sys.argv[2], {}, {})
stage = tracking.start_stage(parent, "spatial", sys.argv[2], {}, {})
print(parent.id, stage.id, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def tracking(storage: Path) -> Tracking:
    return connect_tracking(storage)


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """A fingerprint that no other test uses."""
    return f"{hash(request.node.name) & (2**64 - 1):064x}"


@pytest.fixture
def stage(tracking: Tracking, mark: str) -> Run:
    parent = tracking.start_pipeline(mark, CONFIG, {})
    return tracking.start_stage(parent, "spatial", mark, CONFIG, {})


def seen(run: Run | str, tracking: Tracking | None = None) -> Seen:
    """A run as the server shows it."""
    if isinstance(run, Run):
        return run.server.client.get_run(run.id)
    assert tracking is not None
    return tracking.server.client.get_run(run)


def history(run: Run, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in run.server.client.get_metric_history(run.id, name)]


def artifact(run: Run, name: str, folder: Path) -> Path:
    return Path(run.server.client.download_artifacts(run.id, name, str(folder)))


@dataclass
class Driver:
    """Another process with a pipeline and a stage that are going on."""

    process: subprocess.Popen[str]
    pipeline: str
    stage: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def driver(storage: Path, tracking: Tracking) -> Iterator[Driver]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(storage), "d" * 64], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield Driver(process, *process.stdout.readline().split())
    process.kill()
    process.wait()


# ---------------------------------------------------------------------------------------------------------- runs


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


# ------------------------------------------------------------------------------------------------ other processes


def test_a_pipeline_that_a_living_process_is_at_is_left_to_it(tracking: Tracking, driver: Driver) -> None:
    assert tracking.start_pipeline("d" * 64, {}, {}).id != driver.pipeline


def test_runs_of_living_processes_are_no_orphans(tracking: Tracking, driver: Driver, stage: Run) -> None:
    tracking.close_orphans()
    assert [seen(run, tracking).info.status for run in (driver.pipeline, driver.stage, stage.id)] == ["RUNNING"] * 3


def test_runs_of_killed_processes_are_closed_and_say_why(tracking: Tracking, driver: Driver, stage: Run) -> None:
    driver.kill()
    tracking.close_orphans()
    for run in (driver.pipeline, driver.stage):
        assert seen(run, tracking).info.status == "KILLED"
        assert str(driver.process.pid) in seen(run, tracking).data.tags["hia.error"]
    assert seen(stage).info.status == "RUNNING"


def test_a_number_that_another_process_got_since_does_not_keep_a_run_alive(tracking: Tracking, stage: Run) -> None:
    stage.set_tags({"hia.process_started": f"{time.time() - 86400:.2f}"})
    tracking.close_orphans()
    assert seen(stage).info.status == "KILLED"


def test_runs_on_other_machines_are_not_judged(tracking: Tracking, stage: Run) -> None:
    stage.set_tags({"hia.host": "elsewhere", "hia.pid": "1", "hia.process_started": "1.0"})
    tracking.close_orphans()
    assert seen(stage).info.status == "RUNNING"


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_new_storage_share_one_experiment(tmp_path: Path) -> None:
    program = "import sys; from orchestration.tracking import *; print(connect_tracking(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0].rpartition("experiment_id")[2] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(answers) == 1


# --------------------------------------------------------------------------------------------- what runs hold


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


# ----------------------------------------------------------------------------------------------------- following


def test_what_a_stage_tells_reaches_its_run(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    writer.metrics(1, {"loss": 0.5})
    with Following(stage, tmp_path):
        writer.metrics(2, {"loss": 0.25, "samples_per_second": 7})
    assert history(stage, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(stage, "samples_per_second") == [(2, 7.0)]


def test_metrics_come_while_the_stage_goes_on(stage: Run, tmp_path: Path) -> None:
    with Following(stage, tmp_path, interval=0.05):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 0.5})
        wait_until(lambda: "loss" in seen(stage).data.metrics)


def test_metrics_have_the_time_at_which_they_were_measured(stage: Run, tmp_path: Path) -> None:
    line = {"time": 1_600_000_000_000, "step": 4, "metrics": {"loss": 1.5}}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n")
    with Following(stage, tmp_path):
        pass
    (metric,) = stage.server.client.get_metric_history(stage.id, "loss")
    assert (metric.timestamp, metric.step, metric.value) == (1_600_000_000_000, 4, 1.5)


def test_videos_and_pictures_are_kept_where_they_were_asked_to_be(stage: Run, tmp_path: Path) -> None:
    import numpy

    (tmp_path / "samples").mkdir()
    frames = numpy.zeros((4, 32, 32, 3), numpy.uint8)
    write_video(tmp_path / "samples" / "step_000010.mp4", frames, fps=8)
    JournalWriter(tmp_path / "journal.jsonl").artifact("samples/step_000010.mp4", "samples")
    with Following(stage, tmp_path):
        pass
    kept = artifact(stage, "samples/step_000010.mp4", tmp_path.parent)
    assert kept.read_bytes() == (tmp_path / "samples" / "step_000010.mp4").read_bytes()


def test_more_metrics_than_a_request_takes_are_sent(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    names = [f"bin/{number}" for number in range(1700)]
    for step in (1, 2):
        writer.metrics(step, dict.fromkeys(names, 0.5))
    with Following(stage, tmp_path):
        pass
    assert set(names) <= set(seen(stage).data.metrics)
    assert history(stage, names[0]) == history(stage, names[-1]) == [(1, 0.5), (2, 0.5)]


def test_steps_that_a_restarted_stage_repeats_are_sent_once(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    for step in (10, 20, 30):
        writer.metrics(step, {"loss": step, "time": step})
    with Following(stage, tmp_path):
        pass
    with Following(stage, tmp_path):  # after the restart; it logs more, and more often
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
    with Following(stage, tmp_path):
        pass
    (tmp_path / "journal.jsonl").unlink()
    (tmp_path / "journal.sent.json").unlink()
    for step in (1, 2, 3):  # an execution that began anew
        writer.metrics(step, {"loss": step * 10})
    with Following(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_what_is_sent_again_because_its_receipt_was_lost_is_there_once(stage: Run, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    for step in range(5):
        writer.metrics(step, {"loss": step, "nan": float("nan")})
    with Following(stage, tmp_path):
        pass
    note = {"mlflow_run_id": stage.id, "position": 0}
    (tmp_path / "journal.sent.json").write_text(json.dumps(note))
    writer.metrics(5, {"loss": 5})
    with Following(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(step, float(step)) for step in range(6)]
    assert [step for step, _ in history(stage, "nan")] == list(range(5))


def test_another_run_of_the_same_folder_gets_everything(tracking: Tracking, mark: str, stage: Run, tmp_path: Path):
    JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
    with Following(stage, tmp_path):
        pass
    stage.finish("FINISHED")
    other = tracking.start_stage(tracking.start_pipeline(mark, CONFIG, {}), "spatial", mark, CONFIG, {})
    with Following(other, tmp_path):
        pass
    assert history(other, "loss") == [(1, 1.0)]


def test_what_is_not_finite_reaches_the_run(stage: Run, tmp_path: Path) -> None:
    JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"a": float("nan"), "b": float("inf")})
    with Following(stage, tmp_path):
        pass
    metrics = seen(stage).data.metrics
    assert metrics["a"] != metrics["a"] and metrics["b"] > 1e300


def test_an_artifact_that_was_removed_since_is_told_of_and_holds_up_nothing(
    stage: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    writer.artifact("samples/gone.mp4", "samples")
    writer.metrics(1, {"loss": 1})
    with Following(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0)]
    assert "gone.mp4" in capfd.readouterr().err


def test_system_metrics_are_recorded_by_the_second_of_the_run(stage: Run, tmp_path: Path) -> None:
    with Following(stage, tmp_path, system_interval=0.1):
        time.sleep(0.8)
    metrics = seen(stage).data.metrics
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)
    assert metrics["system/system_memory_usage_megabytes"] > 100
    steps = [step for step, _ in history(stage, "system/cpu_utilization_percentage")]
    assert steps == sorted(steps) and 0 <= steps[-1] <= 60


def test_an_error_of_the_stage_is_not_hidden_and_what_it_told_is_sent(stage: Run, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the stage's own"), Following(stage, tmp_path):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
        raise RuntimeError("the stage's own")
    assert history(stage, "loss") == [(1, 1.0)]


def test_a_run_that_was_deleted_meanwhile_is_told_of_at_the_end(
    stage: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.server.client.delete_run(stage.id)
    with pytest.raises(TrackingRefused, match="deleted"), Following(stage, tmp_path):
        JournalWriter(tmp_path / "journal.jsonl").metrics(1, {"loss": 1})
    assert "the stage goes on" in capfd.readouterr().err
    stage.server.client.restore_run(stage.id)
    with Following(stage, tmp_path):
        pass
    assert history(stage, "loss") == [(1, 1.0)]


# ---------------------------------------------------------------------------------------------------- connection


def test_artifacts_and_database_lie_in_the_storage(tracking: Tracking, storage: Path, stage: Run) -> None:
    assert tracking.server.uri == f"sqlite:///{storage / 'mlflow.db'}"
    assert (storage / "artifacts" / stage.id / "artifacts" / "config.yaml").is_file()


def test_the_run_of_a_database_file_says_how_to_look_at_it(storage: Path, stage: Run) -> None:
    assert stage.id in stage.url and f"mlflow ui --backend-store-uri sqlite:///{storage / 'mlflow.db'}" in stage.url


def test_an_address_without_a_server_is_named_after_a_short_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTION_PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    with pytest.raises(TrackingAway, match=r"http://127\.0\.0\.1:9 does not answer \(Connection refused\)") as raised:
        connect_tracking(tmp_path)
    assert "secret" not in str(raised.value)


def test_a_deleted_experiment_is_told_of(tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "deleted")
    tracking.server.client.delete_experiment(connect_tracking(tmp_path).experiment_id)
    with pytest.raises(TrackingRefused, match="experiment deleted was deleted: restore it"):
        connect_tracking(tmp_path)


@pytest.mark.slow
def test_a_run_on_a_new_storage_says_nothing_of_its_own(tmp_path: Path) -> None:
    program = (
        "import sys; from orchestration.tracking import *; from orchestration.journal import JournalWriter\n"
        "tracking = connect_tracking(sys.argv[1]); run = tracking.start_pipeline('f' * 64, {'a': 1}, {})\n"
        "JournalWriter(sys.argv[1] + '/journal.jsonl').metrics(1, {'loss': 1})\n"
        "with Following(run, sys.argv[1], system_interval=0.1): pass\n"
        "run.finish('FINISHED'); tracking.close_orphans()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_tracking_is_imported_without_mlflow() -> None:
    program = "import sys; import orchestration.tracking, orchestration.journal; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it has not come"
        time.sleep(0.05)
