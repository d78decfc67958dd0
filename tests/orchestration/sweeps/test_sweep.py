"""The sweep's command on a chain of small stages: what runs, what is reused, what is reported, how it ends."""

from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests.orchestration.sweeps.toy import (
    FAILS,
    OMEGA,
    STEPS,
    folder_of,
    of_kind,
    ran,
    read_all,
    runs,
    states,
    sweep,
    sweep_stages,
    write_sweep,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

GRID = {STEPS: [4, 8], OMEGA: [1.0, 2.0]}


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


# ------------------------------------------------------------------------------------------------ undisturbed


@pytest.fixture(scope="module")
def swept(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """A grid of two trainings and two ω, from nothing to its end."""
    place = tmp_path_factory.mktemp("swept")
    file = write_sweep(place, search=GRID)
    return place, file, sweep(file)


def test_each_training_runs_once_and_each_trial_is_evaluated(swept: tuple[Path, Path, int]) -> None:
    place, _, status = swept
    assert status == 0
    assert ran(place) == ["evaluate"] * 4 + ["numbers"] + ["steps"] * 2


def test_trials_are_runs_below_the_sweeps_and_stages_below_the_trial_that_ran_them(
    swept: tuple[Path, Path, int],
) -> None:
    place, *_ = swept
    (parent,) = of_kind(place, "sweep")
    trials = of_kind(place, "trial")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    stages = of_kind(place, "stage")
    assert {run.data.tags["mlflow.parentRunId"] for run in stages} <= {run.info.run_id for run in trials}
    assert len(stages) == 7
    assert {run.info.status for run in runs(place)} == {"FINISHED"}


def test_the_values_of_a_trial_are_parameters_and_tags_and_its_metrics_are_its_own(
    swept: tuple[Path, Path, int],
) -> None:
    place, *_ = swept
    found = {
        (run.data.params[STEPS], run.data.params[OMEGA], run.data.tags["omega"]): run.data.metrics["psnr"]
        for run in of_kind(place, "trial")
    }
    assert found == {("4", "1.0", "1"): 23, ("4", "2.0", "2"): 24, ("8", "1.0", "1"): 47, ("8", "2.0", "2"): 48}
    assert {run.data.tags["sweep"] for run in of_kind(place, "trial")} == {"toy"}


def test_the_sweeps_run_has_the_results_and_names_the_best(swept: tuple[Path, Path, int]) -> None:
    place, *_ = swept
    (parent,) = of_kind(place, "sweep")
    client = MlflowClient(f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"results.csv", "results.md", "results.png", "best.yaml", "config.yaml"} <= names
    assert parent.data.metrics["best/psnr"] == 48 and parent.data.metrics["trials_done"] == 4
    assert "ω=2" in parent.data.tags["best"]
    assert "sweep.py config.yaml" in parent.data.tags["mlflow.note.content"]


def test_the_command_of_a_trials_run_is_the_users(swept: tuple[Path, Path, int]) -> None:
    place, *_ = swept
    for run in of_kind(place, "trial"):
        assert "default_worker" not in run.data.tags["mlflow.note.content"]


def test_the_best_configuration_reuses_what_the_sweep_has_trained(
    swept: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestration.run_all import main as run_all

    place, *_ = swept
    assert run_all(["--preset", str(folder_of(place) / "best.yaml"), "--dry-run"], sweep_stages) == 0
    actions = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:])
    assert actions == {"numbers": "reuse", "steps": "reuse", "evaluate": "reuse", "listed": "run"}


def test_the_same_command_again_runs_nothing(swept: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]) -> None:
    place, file, _ = swept
    before = ran(place), len(runs(place))
    assert sweep(file, "--dry-run") == 0
    assert capsys.readouterr().out.count("nothing: it is finished") == 4
    assert sweep(file) == 0
    assert (ran(place), len(runs(place))) == before
    assert "best: stages.spatial.iterations=8 ω=2" in capsys.readouterr().out


def test_another_sweep_over_the_same_trainings_trains_nothing(swept: tuple[Path, Path, int], tmp_path: Path) -> None:
    place, file, _ = swept
    content = yaml.safe_load(file.read_text()) | {"search": {OMEGA: [5.0, 6.0]}}
    content["set"][STEPS] = 8
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    before = ran(place)
    assert sweep(other) == 0
    assert ran(place) == sorted([*before, "evaluate", "evaluate"])


def test_a_second_driver_of_the_same_sweep_is_refused(
    swept: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    place, file, _ = swept
    folder = folder_of(place)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        assert sweep(file) == 2
    assert "another process is at it" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ failures


def test_a_failed_trial_is_marked_with_its_reason_and_the_others_go_on(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0, 3.5]})
    (tmp_path / FAILS).write_text("2")
    assert sweep(file) == 1
    told = capsys.readouterr()
    assert "1 of 3 trials failed, such as ω=2: evaluate failed: nothing can be seen at 2" in told.err
    assert "ω=2: failed: evaluate failed: nothing can be seen at 2" in told.out and "best: ω=1" in told.out
    assert states(tmp_path) == {1.0: "done", 2.0: "failed", 3.5: "done"}
    by_omega = {run.data.tags["omega"]: run for run in of_kind(tmp_path, "trial")}
    assert {omega: run.info.status for omega, run in by_omega.items()} == {
        **{"1": "FINISHED", "2": "FAILED", "3.5": "FINISHED"}
    }
    assert by_omega["2"].data.tags["hia.error"] == "evaluate failed: nothing can be seen at 2"
    (tmp_path / FAILS).unlink()
    before = ran(tmp_path)
    assert sweep(file) == 0
    assert ran(tmp_path) == sorted([*before, "evaluate"])
    assert len(of_kind(tmp_path, "trial")) == 3


def test_a_metric_that_is_not_measured_fails_with_the_names_of_those_that_are(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0]}, metric="fid")
    assert sweep(file) == 1
    assert "fid was not measured; the evaluation has psnr, repeat_reference/psnr, ssim" in capsys.readouterr().err


def test_more_trials_at_a_time_than_there_is_room_for_are_refused(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0]}, concurrent=3)
    assert sweep(file, "--set", "training.workers=2") == 2
    assert "3 trials at a time need 6 workers" in (said := capsys.readouterr().err)
    assert "set concurrent to at most 2, or leave it out" in said
    assert ran(tmp_path) == []


def test_a_trial_that_fits_into_no_cluster_is_refused(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, search={OMEGA: [1.0, 2.0]}, concurrent=None)
    assert sweep(file, "--set", "training.workers=2", "training.cpus_per_worker=3") == 2
    assert "the cluster has room for 1 of 2 workers" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ schedulers


def test_asha_trains_in_rungs_and_gives_up_those_that_are_worse(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = {"budget": {STEPS: 9}, "scheduler": "asha", "rungs": 3, "reduction": 3, "concurrent": 1}
    file = write_sweep(tmp_path, search={"seed": [0, 1, 2, 3]}, **fixed)
    assert sweep(file) == 0
    found = {record.values["seed"]: record.state for record in read_all(tmp_path)}
    assert found == {0: "done", 1: "stopped", 2: "stopped", 3: "stopped"}
    assert "given up after 0.111 of the training" in capsys.readouterr().out
    assert ran(tmp_path).count("steps") == ran(tmp_path).count("evaluate") == 6
    trials = {run.data.params["seed"]: run for run in of_kind(tmp_path, "trial")}
    assert {run.info.status for run in trials.values()} == {"FINISHED"}
    assert "hia.stopped" in trials["3"].data.tags and "hia.stopped" not in trials["0"].data.tags
    before = ran(tmp_path)
    assert sweep(file) == 0
    assert ran(tmp_path) == before


def test_asha_is_refused_where_it_could_save_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(write_sweep(tmp_path, search={OMEGA: [1.0, 2.0]}, scheduler="asha")) == 2
    assert "nothing in search changes the training: use scheduler: none" in capsys.readouterr().err


def test_optuna_suggests_as_many_trials_as_are_asked_for_and_goes_on_where_it_was(cluster: str, tmp_path: Path) -> None:
    search = {OMEGA: {"low": 0.0, "high": 8.0}, STEPS: [4, 8]}
    file = write_sweep(tmp_path, search=search, algorithm="optuna", trials=4)
    assert sweep(file) == 0
    assert len(read_all(tmp_path)) == 4
    assert sweep(file) == 0
    assert len(of_kind(tmp_path, "trial")) == 4
