"""The plan of a chain: the reason of each stage to run, and selections of stages."""

import dataclasses

import pytest

from orchestration.chain import ChainError, StageFolder
from tests.orchestration.chain.toy import Toy, actions, folder_of, why

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
