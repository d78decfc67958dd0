"""The chain: finished stages are reused, unfinished ones resumed, changed ones run; failures, locks, tracking."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.chain import Executed, StageFailed
from orchestration.chain.execute import final_status
from orchestration.tracking import connect_tracking
from orchestration.tracking.journal import read_new
from tests.orchestration.chain.toy import Toy, actions, folder_of, why

# ------------------------------------------------------------------------------------------------ reuse and resume


def test_a_first_run_runs_every_stage_on_the_folders_of_those_before(toy: Toy) -> None:
    executed = toy.run("sampling.guidance_scale=2")
    assert actions(executed) == ["run"] * 4
    assert (folder_of(executed, "report") / "report").read_text() == "2.0 48"


def test_a_second_run_reuses_all_and_leaves_every_file_as_it_is(toy: Toy) -> None:
    toy.run()
    before = {path: path.stat().st_mtime_ns for path in (toy.folder / "runs").rglob("*") if path.is_file()}
    assert actions(toy.run()) == ["reuse"] * 4
    after = {path: path.stat().st_mtime_ns for path in (toy.folder / "runs").rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if path.suffix != ".lock"} == {
        path: time for path, time in before.items() if path.suffix != ".lock"
    }


def test_what_is_changed_runs_with_what_follows(toy: Toy) -> None:
    toy.run()
    assert actions(toy.run("sampling.guidance_scale=9")) == ["reuse", "reuse", "run", "run"]


def test_going_back_to_former_settings_finds_what_was_done_with_them(toy: Toy) -> None:
    toy.run()
    toy.run("seed=7")
    assert actions(toy.run()) == ["reuse"] * 4


def test_an_unfinished_stage_goes_on_where_it_was(toy: Toy) -> None:
    toy.fails("steps", "power cut")
    with pytest.raises(StageFailed):
        toy.run()
    assert len(list((toy.folder / "runs" / "steps").glob("*/kept/step_*"))) == 4
    toy.works_again("steps")
    planned = toy.plan()
    assert actions(planned) == ["reuse", "resume", "run", "run"]
    assert "step 4 of 8" in why(planned, "steps")
    folder = folder_of(toy.run(), "steps")
    assert (folder / "result").read_text() == "48"
    told = [entry.step for entry in read_new(folder / "journal.jsonl", 0)[0] if "sum" in entry.values]
    assert told == [1, 2, 3, 4, 5, 6, 7, 8], "each step was taken once"


def test_what_only_an_unfinished_stage_needs_goes_when_it_has_finished(toy: Toy) -> None:
    folder = folder_of(toy.run(), "steps")
    assert not (folder / "kept").exists()
    (folder / "kept").mkdir()  # as when the process was killed before it came to removing it
    assert actions(toy.run()) == ["reuse"] * 4
    assert not (folder / "kept").exists()


def test_a_finished_stage_that_lost_a_file_runs_again(toy: Toy) -> None:
    executed = toy.run()
    (folder_of(executed, "steps") / "result").unlink()
    planned = toy.plan()
    assert actions(planned) == ["reuse", "resume", "reuse", "reuse"]
    assert "result is missing" in why(planned, "steps")
    assert (folder_of(toy.run(), "steps") / "result").read_text() == "48"


def test_a_stage_whose_folder_is_gone_runs_again_and_says_so(toy: Toy) -> None:
    shutil.rmtree(folder_of(toy.run(), "steps"))
    planned = toy.plan()
    assert actions(planned)[1] == "run"
    assert "is gone" in why(planned, "steps") and "MLflow" in why(planned, "steps")
    assert actions(toy.run()) == ["reuse", "run", "reuse", "reuse"]


def test_an_input_that_changed_in_its_place_is_brought_up_to_date(toy: Toy) -> None:
    toy.run()
    (toy.folder / "numbers.txt").write_text("3 1 2 4")
    planned = toy.plan()
    assert actions(planned) == ["run"] * 4
    assert why(planned, "numbers") == "the file has changed"
    executed = toy.run()
    assert (folder_of(executed, "steps") / "result").read_text() == "80"


def test_an_updated_input_of_the_same_content_lets_all_that_follows_be_reused(toy: Toy) -> None:
    toy.run()
    (toy.folder / "numbers.txt").write_text("1 2 3")
    assert actions(toy.run()) == ["run", "reuse", "reuse", "reuse"]


def test_a_result_is_refused_when_its_input_was_changed_by_another_run(toy: Toy) -> None:
    executed = toy.run()
    numbers = folder_of(executed, "numbers") / "numbers.json"
    (toy.folder / "report.waits").touch()
    (toy.folder / "report.reached").unlink()
    failures: list[Exception] = []

    def run() -> None:
        try:
            toy.run("sampling.guidance_scale=5")
        except StageFailed as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    _wait_for(toy.folder / "report.reached")
    numbers.write_text("[1]")
    (toy.folder / "report.waits").unlink()
    thread.join()
    assert [str(error) for error in failures if "changed by another run" in str(error)]
    assert toy.plan("sampling.guidance_scale=5")[2].action != "reuse"


# ------------------------------------------------------------------------------------------------ failures and locks


def test_a_failing_stage_is_named_with_its_reason_and_what_was_done_is_kept(toy: Toy) -> None:
    toy.fails("report", "no disk")
    with pytest.raises(StageFailed, match="report failed: no disk"):
        toy.run()
    assert actions(toy.plan()) == ["reuse", "reuse", "resume", "run"]


def test_a_stage_that_writes_no_result_has_failed(toy: Toy) -> None:
    chain = toy.chain()
    stages = [dataclasses.replace(chain.stages[0], required_outputs=("numbers.json", "other.json"))]
    lazy = dataclasses.replace(chain, stages=stages)
    parent = toy.tracking.start_pipeline(lazy.fingerprint, {}, {})
    with pytest.raises(StageFailed, match=r"without writing .*other\.json"), final_status(parent):
        lazy.run(lazy.plan(), parent)


def test_two_runs_at_once_do_the_work_once(toy: Toy) -> None:
    (toy.folder / "steps.waits").touch()
    results: list[tuple[Executed, ...]] = []
    first = threading.Thread(target=lambda: results.append(toy.run()))
    first.start()
    _wait_for(toy.folder / "steps.reached")
    second = threading.Thread(target=lambda: results.append(toy.run()))
    second.start()
    _wait_until(lambda: any("another run is at it" in line for line in toy.lines))
    (toy.folder / "steps.waits").unlink()
    first.join()
    second.join()
    assert sorted(actions(one)[1] for one in results) == ["reuse", "run"]


def test_a_damaged_note_counts_as_none(toy: Toy) -> None:
    folder = folder_of(toy.run(), "steps")
    (folder / "done.json").write_text('{"metrics": ')
    assert actions(toy.plan())[1] == "resume"


# ------------------------------------------------------------------------------------------------ tracking


def test_what_the_tracking_server_lacks_is_sent_without_running_it_again(toy: Toy) -> None:
    executed = toy.run()
    written = (folder_of(executed, "steps") / "result").stat().st_mtime_ns
    toy.tracking = connect_tracking(toy.folder / "another")
    planned = toy.plan()
    assert actions(planned) == ["reuse", "reuse", "reuse", "run"]  # the result of the last one lies there
    assert "sent to the tracking server" in why(planned, "steps")
    sent = toy.run()
    assert (folder_of(sent, "steps") / "result").stat().st_mtime_ns == written
    assert all(toy.tracking.find_finished(one.name, _mark(one.folder)) for one in sent)


def test_the_folder_of_a_stage_says_what_it_is_and_which_tracking_run_is_its(toy: Toy) -> None:
    executed = toy.run()
    steps = next(one for one in executed if one.name == "steps")
    note = json.loads((steps.folder / "stage.json").read_text())
    assert note["reads"]["stages"]["spatial"]["iterations"] == 8
    assert note["mlflow_run_id"] == steps.run_id == toy.tracking.find_finished("steps", note["fingerprint"])


def _mark(folder: Path) -> str:
    return str(json.loads((folder / "stage.json").read_text())["fingerprint"])


def _wait_for(path: Path) -> None:
    _wait_until(path.exists)


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.02)
    raise TimeoutError
