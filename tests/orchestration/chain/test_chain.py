"""The chain: what is done is found again, what was begun goes on, what has changed runs, and why."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hia.config import Config
from orchestration.chain import Chain, ChainError, ChainStage, Executed, Plan, Selection, StageFailed, StageFolder
from orchestration.chain.execute import final_status
from orchestration.tracking import Tracking, connect_tracking
from orchestration.tracking.journal import read_new
from tests.orchestration.toy_chain import toy_stages

NAMES = ("numbers", "steps", "report", "listed")


@dataclass
class Toy:
    """A toy chain in a folder of its own; lines: what it told."""

    folder: Path
    configure: Callable[..., Config]
    tracking: Tracking
    lines: list[str] = field(default_factory=list)

    def stages(self, *overrides: str) -> Sequence[ChainStage]:
        return toy_stages(self.config(*overrides))

    def config(self, *overrides: str) -> Config:
        return self.configure(f"preprocess.test_list={self.folder / 'numbers.txt'}", *overrides)

    def chain(self, *overrides: str) -> Chain:
        config = self.config(*overrides)
        return Chain(toy_stages(config), config, self.folder / "runs", self.tracking, say=self.lines.append)

    def plan(self, *overrides: str, anew: str | None = None, only: str | None = None) -> Plan:
        return self.chain(*overrides).plan(Selection(anew, only))

    def run(self, *overrides: str, anew: str | None = None, only: str | None = None) -> tuple[Executed, ...]:
        chain = self.chain(*overrides)
        planned = chain.plan(Selection(anew, only))
        parent = self.tracking.start_pipeline(chain.fingerprint, dataclasses.asdict(chain.config), {})
        with final_status(parent):
            return chain.run(planned, parent)

    def fails(self, stage: str, text: str) -> None:
        (self.folder / f"{stage}.fails").write_text(text)

    def works_again(self, stage: str) -> None:
        (self.folder / f"{stage}.fails").unlink()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return connect_tracking(tmp_path_factory.mktemp("tracking"))


@pytest.fixture
def toy(tmp_path: Path, tiny_config: Callable[..., Config], tracking: Tracking) -> Toy:
    (tmp_path / "numbers.txt").write_text("3 1 2")
    return Toy(tmp_path, tiny_config, tracking)


def actions(planned: Plan | tuple[Executed, ...]) -> list[str]:
    return [one.action for one in planned]


def why(planned: Plan, stage: str) -> str:
    return next(one.why for one in planned if one.stage.name == stage)


def folder_of(executed: tuple[Executed, ...], stage: str) -> Path:
    return next(one.folder for one in executed if one.name == stage)


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


# ------------------------------------------------------------------------------------------------ why


def test_the_plan_names_the_values_that_changed_since_the_most_similar_execution(toy: Toy) -> None:
    executed = toy.run("sampling.guidance_scale=2")
    toy.run("sampling.guidance_scale=2", "stages.spatial.iterations=2")
    planned = toy.plan("sampling.guidance_scale=2.5")
    assert why(planned, "report") == (f"sampling.guidance_scale: 2.0 → 2.5 since {folder_of(executed, 'report').name}")
    assert why(planned, "listed") == "its input report runs again"


def test_the_plan_says_of_an_input_that_it_runs_again(toy: Toy) -> None:
    toy.run()
    planned = toy.plan("stages.spatial.iterations=6")
    assert "stages.spatial.iterations: 8 → 6" in why(planned, "steps")
    assert why(planned, "report") == "its input steps runs again"


def test_the_plan_says_what_never_ran(toy: Toy) -> None:
    assert why(toy.plan(), "numbers") == "never run before"


def test_another_version_of_the_program_runs_a_stage_again(toy: Toy) -> None:
    toy.run()
    chain = toy.chain()
    newer = dataclasses.replace(chain, stages=[dataclasses.replace(one, version=2) for one in chain.stages])
    assert "the program's version of this stage: 1 → 2" in why(newer.plan(), "numbers")


def test_planning_changes_nothing(toy: Toy) -> None:
    toy.plan()
    assert not (toy.folder / "runs").exists()


# ------------------------------------------------------------------------------------------------ a selection


def test_from_runs_a_stage_and_all_that_follow_even_if_done(toy: Toy) -> None:
    before = folder_of(toy.run(), "steps")
    planned = toy.plan(anew="steps")
    assert actions(planned) == ["reuse", "run", "run", "run"]
    assert f"{before.name}.replaced-1" in why(planned, "steps")
    toy.run(anew="steps")
    assert (before.with_name(f"{before.name}.replaced-1") / "result").read_text() == "48"
    assert StageFolder(before).result is not None
    assert actions(toy.run()) == ["reuse"] * 4


def test_only_runs_one_stage_on_what_is_done(toy: Toy) -> None:
    toy.run()
    planned = toy.plan("sampling.guidance_scale=7", only="report")
    assert actions(planned) == ["reuse", "reuse", "run", "left out"]
    executed = toy.run("sampling.guidance_scale=7", only="report")
    assert [one.name for one in executed] == ["numbers", "steps", "report"]
    assert actions(toy.run("sampling.guidance_scale=7", only="listed")) == ["reuse", "reuse", "reuse", "run"]


def test_only_refuses_a_stage_whose_inputs_are_not_done(toy: Toy) -> None:
    toy.run()
    with pytest.raises(ChainError, match="--only report needs steps, which is not done"):
        toy.plan("seed=3", only="report")


def test_an_unknown_stage_is_refused_with_those_that_there_are(toy: Toy) -> None:
    with pytest.raises(ChainError, match="--from spatail: no such stage here; choose one of numbers, steps"):
        toy.plan(anew="spatail")


def test_only_and_from_must_agree(toy: Toy) -> None:
    with pytest.raises(ChainError, match="leave one out"):
        toy.plan(anew="steps", only="report")


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
