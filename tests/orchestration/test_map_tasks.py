"""Tasks on the cluster: every job has its outcome, even if its process is lost."""

import os
from dataclasses import replace

import pytest
from ray.exceptions import RayError

from hia.config import TrainingConfig
from orchestration.cluster import map_tasks
from tests.orchestration.trained_run import tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]


def square(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number**2


def die(note: str, times: int) -> str:
    """Kill the own process so many times, counted in a file."""
    with open(note, "a+") as file:
        file.seek(0)
        died = len(file.read())
        if died < times:
            file.write("x")
            file.flush()
            os._exit(7)
    return f"died {died} times"


def settings(**changes: int) -> TrainingConfig:
    return replace(tiny_config().training, **changes)


def test_every_job_has_its_outcome_whatever_becomes_of_the_others():
    outcomes = {one.index: one for one in map_tasks(square, [(3,), (-1,), (4,)], settings(workers=2))}
    assert (outcomes[0].value, outcomes[2].value) == (9, 16)
    assert type(outcomes[1].error) is ValueError and str(outcomes[1].error) == "-1 is negative"


def test_a_job_whose_process_dies_is_tried_again(tmp_path):
    (outcome,) = map_tasks(die, [(str(tmp_path / "note"), 2)], settings(most_failures=2))
    assert outcome.value == "died 2 times"


def test_a_job_whose_process_dies_too_often_is_given_up(tmp_path):
    outcomes = list(
        map_tasks(die, [(str(tmp_path / "note"), 9), (str(tmp_path / "other"), 0)], settings(most_failures=1))
    )
    assert [one.index for one in outcomes if one.error is None] == [1]
    (lost,) = (one for one in outcomes if one.error is not None)
    assert isinstance(lost.error, RayError) and (tmp_path / "note").read_text() == "xx"


def test_no_room_for_a_single_task_is_an_error_at_once():
    with pytest.raises(ValueError, match="room for 0 of 1 workers"):
        next(map_tasks(square, [(1,)], settings(cpus_per_worker=99)))
