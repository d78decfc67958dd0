"""Sweep files: their content, refused ones, and the trials that follow."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from hia.config import ConfigError
from orchestration.sweeps.plan import interleave_by_training
from orchestration.sweeps.search_space import Choice, Range, Trial
from orchestration.sweeps.spec import SweepSpec, load_sweep
from orchestration.sweeps.trials import Sweep, resolve
from tests.conftest import REPOSITORY, TINY_CONFIG

GAMMA, OMEGA = "schedule.gamma", "sampling.guidance_scale"


def load(folder: Path, **content: object) -> SweepSpec:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"preset": str(TINY_CONFIG), "search": {GAMMA: [0.25, 0.5]}} | content))
    return load_sweep(file)


def sweep_of(folder: Path, **content: object) -> Sweep:
    return resolve("mine", load(folder, **content))[0]


@pytest.mark.parametrize("name", ["gamma", "omega", "gamma_omega"])
def test_the_sweeps_that_come_with_the_project_can_be_used(name: str) -> None:
    sweep, _ = resolve(name, load_sweep(REPOSITORY / "experiments" / "sweeps" / f"{name}.yaml"))
    configs = [sweep.config(trial) for trial in sweep.spec.known_trials()]
    assert len({(config.gamma, config.sampling.guidance_scale) for config in configs}) == len(configs) > 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"serach": {}}, r"mine\.yaml: unknown key serach \(did you mean search\?\)"),
        ({"search": {}}, "search: name at least one key"),
        ({"search": {GAMMA: []}}, f"search: {GAMMA} has no values"),
        ({"search": {GAMMA: [0.5, 0.5]}}, f"{GAMMA} has 0.5 twice"),
        ({"search": {GAMMA: 0.5}}, f"search: {GAMMA} = 0.5: give a list of values, or a range"),
        ({"search": {GAMMA: {"low": 0.1, "high": 1}}}, f"{GAMMA} is a range, and a grid needs lists"),
        ({"search": {GAMMA: {"low": 0.1, "hgih": 1}}}, "unknown key hgih"),
        ({"search": {GAMMA: {"low": 0.1}}}, f"{GAMMA}.high must be a number, not None"),
        ({"search": {GAMMA: {"low": 1, "high": 0.1}}}, "must be below high"),
        ({"search": {GAMMA: {"low": 0, "high": 1, "log": True}}}, "log needs low above 0"),
        ({"search": {"storage": ["a", "b"]}}, "storage is the same for all trials"),
        ({"set": {"schedule": {"gamma": 0.5}}}, f"{GAMMA} is both in search and in set"),
        ({"budget": {GAMMA: 0.5}}, f"{GAMMA} is both in search and in budget"),
        ({"trials": 3}, "a grid tries every combination"),
        ({"algorithm": "random"}, "say how many trials algorithm: random may make"),
        ({"algorithm": "gird"}, "algorithm = 'gird': Input should be 'grid', 'random' or 'optuna'"),
        ({"trials": 0, "algorithm": "random"}, "trials = 0: Input should be greater than 0"),
        ({"preset": "qiuckstart"}, "preset: unknown preset 'qiuckstart'"),
        ({"mode": "most"}, "mode = 'most'"),
        ({"rungs": 1}, "rungs = 1"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_the_key(tmp_path: Path, content: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        load(tmp_path, **content)
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("place", ["set", "budget", "search"])
def test_an_unknown_key_of_the_configuration_is_refused(tmp_path: Path, place: str) -> None:
    content = {place: {"sampling.stepz": [3] if place == "search" else 3}}
    with pytest.raises(ConfigError, match=r"sweep mine.*unknown key sampling.stepz = 3 \(did you mean steps\?\)"):
        sweep = sweep_of(tmp_path, **content)
        sweep.config(sweep.spec.known_trials()[0])


def test_a_key_below_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key width\.pixels: width has no keys of its own"):
        sweep_of(tmp_path, set={"width": {"pixels": 3}})


@pytest.mark.parametrize("text", ["- a list", "{", "!!python/object/apply:os.getcwd []"])
def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_sweep(tmp_path / "mine.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: the sweep file cannot be read"):
        load_sweep(tmp_path / "nowhere.yaml")


def test_what_a_sweep_says_of_itself_is_a_sweep_file_that_says_the_same(tmp_path: Path) -> None:
    spec = load(tmp_path, set={"stages": {"spatial": {"iterations": 3}}}, metric="ssim")
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(spec.plain()))
    assert load_sweep(tmp_path / "again.yaml") == spec
    assert spec.set == {"stages.spatial.iterations": 3}


def test_a_preset_may_lie_beside_the_sweep_file(tmp_path: Path) -> None:
    (tmp_path / "beside.yaml").write_text(f"base: {TINY_CONFIG}\nseed: 5\n")
    assert sweep_of(tmp_path, preset="beside.yaml").config().seed == 5


# ------------------------------------------------------------------------------------------------ trials


def test_a_grid_is_every_combination() -> None:
    trials = SweepSpec(search={GAMMA: [0.5, 1.0], OMEGA: [1, 2, 3]}).known_trials()
    assert [tuple(trial.values.values()) for trial in trials] == [(g, w) for g in (0.5, 1.0) for w in (1, 2, 3)]


def test_the_same_seed_draws_the_same_trials_and_more_trials_begin_with_fewer() -> None:
    def draw(trials: int, seed: int) -> list[dict]:
        search = {GAMMA: {"low": 0.1, "high": 1, "log": True}, OMEGA: [1, 2]}
        spec = SweepSpec(search=search, algorithm="random", trials=trials, seed=seed)
        return [dict(trial.values) for trial in spec.known_trials()]

    assert draw(8, 0)[:5] == draw(5, 0)
    assert draw(5, 1) != draw(5, 0)
    assert all(0.1 <= values[GAMMA] <= 1 for values in draw(8, 0))


def test_random_trials_are_all_different_or_refused() -> None:
    def spec(trials: int) -> SweepSpec:
        return SweepSpec(search={OMEGA: [1, 2, 3]}, algorithm="random", trials=trials)

    assert sorted(trial.values[OMEGA] for trial in spec(3).known_trials()) == [1, 2, 3]
    with pytest.raises(ValueError, match="4 are asked for, but search has only about 3"):
        spec(4).known_trials()


def test_the_logarithm_of_a_logarithmic_range_is_spread_evenly() -> None:
    generator = np.random.default_rng(0)
    drawn = np.array([Range(0.01, 1.0, log=True).draw(generator) for _ in range(2000)])
    assert np.mean(drawn < 0.1) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("step", "seen"), [(2, {1, 3, 5}), (None, None)])
def test_a_range_with_a_step_has_its_ends_and_whole_numbers_stay_whole(step: int | None, seen: set | None) -> None:
    generator = np.random.default_rng(0)
    drawn = [Range(1, 5, step=step).draw(generator) for _ in range(200)]
    if seen is None:
        assert all(isinstance(value, float) and 1 <= value <= 5 for value in drawn)
    else:
        assert set(drawn) == seen and all(isinstance(value, int) for value in drawn)


def test_a_choice_may_be_of_anything() -> None:
    drawn = {str(Choice((None, [1, 2], "a")).draw(np.random.default_rng(seed))) for seed in range(30)}
    assert drawn == {"None", "[1, 2]", "a"}


def test_one_trial_of_each_training_begins_before_the_second_of_any() -> None:
    trials = [Trial({GAMMA: gamma, OMEGA: omega}) for gamma in (0.5, 1.0) for omega in (1, 2)]
    ordered = interleave_by_training(trials, [str(trial.values[GAMMA]) for trial in trials])
    assert [tuple(trial.values.values()) for trial in ordered] == [(0.5, 1), (1.0, 1), (0.5, 2), (1.0, 2)]


# ------------------------------------------------------------------------------------------------ configurations


def test_a_trial_has_the_budget_and_the_best_configuration_has_not(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, budget={"stages.spatial.iterations": 2}, set={"seed": 3})
    trial = Trial({GAMMA: 0.5})
    short, long = sweep.config(trial), sweep.config(trial, budget=False)
    assert (short.stages.spatial.iterations, long.stages.spatial.iterations) == (2, 8)
    assert short.gamma == long.gamma == 0.5 and short.seed == long.seed == 3


def test_a_rung_has_a_share_of_every_stages_iterations_and_none_of_a_stage_that_is_left_out(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, set={"stages.regional.iterations": 0, "stages.spatial.iterations": 90})
    stages = sweep.config(Trial({GAMMA: 0.5}), share=1 / 9).stages
    assert (stages.spatial.iterations, stages.regional.iterations, stages.temporal_half.iterations) == (10, 0, 1)


def test_rungs_end_with_the_whole_training(tmp_path: Path) -> None:
    assert load(tmp_path, scheduler="asha", rungs=3, reduction=4).shares == (1 / 16, 1 / 4, 1)
    assert load(tmp_path).shares == (1,)


def test_a_small_number_stays_a_number(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, search={"optimizer.learning_rate": [1e-5]})
    assert sweep.config(sweep.spec.known_trials()[0]).optimizer.learning_rate == 1e-5


def test_another_sweep_is_one_with_other_trials_and_not_one_run_elsewhere(tmp_path: Path) -> None:
    first = sweep_of(tmp_path).fingerprint
    assert sweep_of(tmp_path, concurrent=1, set={"storage": str(tmp_path / "elsewhere")}).fingerprint == first
    assert sweep_of(tmp_path, set={"seed": 4}).fingerprint != first
    assert sweep_of(tmp_path, search={GAMMA: [0.25]}).fingerprint != first
