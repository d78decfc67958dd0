"""The connection to the tracking server, and the messages when it is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.tracking import Run, Tracking, TrackingRefused, TrackingUnavailable, connect_tracking, connection
from tests.conftest import REPOSITORY


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
    with pytest.raises(
        TrackingUnavailable, match=r"http://127\.0\.0\.1:9 does not answer \(Connection refused\)"
    ) as raised:
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
        "import sys; from orchestration.tracking import *; from orchestration.tracking.journal import JournalWriter\n"
        "tracking = connect_tracking(sys.argv[1]); run = tracking.start_pipeline('f' * 64, {'a': 1}, {})\n"
        "JournalWriter(sys.argv[1] + '/journal.jsonl').metrics(1, {'loss': 1})\n"
        "with JournalUploader(run, sys.argv[1], system_interval=0.1): pass\n"
        "run.finish('FINISHED'); tracking.close_orphans()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_tracking_is_imported_without_mlflow() -> None:
    program = (
        "import sys; import orchestration.tracking, orchestration.tracking.journal; sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0
