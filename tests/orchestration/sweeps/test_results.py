"""Results of a sweep: the best trial, tables, a picture, a configuration to go on with."""

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hia.config import load_config
from orchestration.sweeps.results import Results, end_summary, write_results
from orchestration.sweeps.search_space import Trial
from orchestration.sweeps.spec import SweepSpec
from orchestration.sweeps.trial import check_metric
from orchestration.sweeps.trials import Record, Sweep, resolve
from tests.conftest import TINY_CONFIG
from tests.orchestration.test_pipeline_summary import Parent

GAMMA, OMEGA = "schedule.gamma", "sampling.guidance_scale"
ORANGE = (0x0C, 0x41, 0xC2)  # blue, green, red
GRID = {GAMMA: [0.5, 1.0], OMEGA: [1.0, 2.0, 4.0]}


def sweep_of(folder: Path, **content: object) -> Sweep:
    values = {"preset": str(TINY_CONFIG), "search": GRID, "set": {"storage": str(folder)}} | content
    sweep, _ = resolve("mine", SweepSpec(**values))  # type: ignore[arg-type]
    sweep.folder.mkdir(parents=True)
    return sweep


def record(values: dict, psnr: float | None = None, state: str = "done", share: str = "1", reason: str = "") -> Record:
    measured = {} if psnr is None else {share: {"psnr": psnr, "ssim": 0.5}}
    return Record(values, state, measured, reason, run_id=f"run-{psnr}")  # type: ignore[arg-type]


def grid_records(values: list[float]) -> list[Record]:
    trials = SweepSpec(search=GRID).known_trials()
    return [record(dict(trial.values), value) for trial, value in zip(trials, values, strict=True)]


def picture(sweep: Sweep) -> np.ndarray:
    found = cv2.imread(str(sweep.folder / "results.png"))
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------ the best


@pytest.mark.parametrize(("mode", "best"), [("max", 5.0), ("min", 1.0)])
def test_the_best_is_the_one_with_most_or_least_of_the_metric(tmp_path: Path, mode: str, best: float) -> None:
    results = Results(sweep_of(tmp_path, mode=mode), grid_records([3, 1, 5, 2, 4, 2.5]))
    assert results.best is not None and results.best.metrics["psnr"] == best


def test_failed_trials_and_those_given_up_are_never_the_best(tmp_path: Path) -> None:
    records = grid_records([3, 1, 2, 2, 1, 2])
    records[1] = record(dict(records[1].values), 9, "stopped", share="0.1")
    records[2] = record(dict(records[2].values), None, "failed", reason="no light")
    results = Results(sweep_of(tmp_path), records)
    assert results.best == records[0] and results.failed == [records[2]]


def test_of_equal_trials_the_first_is_the_best(tmp_path: Path) -> None:
    records = grid_records([3, 3, 3, 3, 3, 3])
    assert Results(sweep_of(tmp_path), records).best == records[0]


# ------------------------------------------------------------------------------------------------ files


def test_the_best_configuration_can_be_run_and_has_no_budget(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, budget={"stages.spatial.iterations": 1})
    write_results(sweep, grid_records([1, 2, 3, 4, 9, 5]))
    best = load_config(sweep.folder / "best.yaml")
    assert (best.schedule.gamma, best.sampling.guidance_scale) == (1.0, 2.0)
    assert best == sweep.config(Trial({GAMMA: 1.0, OMEGA: 2.0}), budget=False)
    assert best.stages.spatial.iterations == 8
    head = (sweep.folder / "best.yaml").read_text().splitlines()[:2]
    assert "psnr = 9 (max is best), where trials had stages.spatial.iterations=1" in head[1]


def test_the_csv_has_a_line_for_each_trial_with_the_values_that_it_was_given(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    write_results(sweep, grid_records([1, 2, 3, 4, 9, 5]))
    rows = list(csv.DictReader(io.StringIO((sweep.folder / "results.csv").read_text())))
    assert [(float(row[GAMMA]), float(row[OMEGA]), float(row["psnr"])) for row in rows] == [
        *((0.5, 1, 1), (0.5, 2, 2), (0.5, 4, 3), (1, 1, 4), (1, 2, 9), (1, 4, 5))
    ]
    assert rows[4]["mlflow_run_id"] == "run-9"


def test_the_table_marks_the_best_and_says_why_a_trial_failed(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    records = grid_records([1, 2, 3, 4, 9, 5])
    records[0] = record(dict(records[0].values), None, "failed", reason="evaluate failed: no | light\nand so on")
    write_results(sweep, records)
    table = (sweep.folder / "results.md").read_text()
    assert "| 1 | 2 | 9 | 0.5 | 0.0 s | best |" in table
    assert "failed: evaluate failed: no \\| light |" in table and "and so on" not in table


def test_the_summary_names_the_best_the_tracking_run_and_the_next_command(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    results = write_results(sweep, grid_records([1, 2, 3, 4, 9, 5]))
    told = end_summary(sweep, results, Parent())  # type: ignore[arg-type]
    assert "best: γ=1 ω=2 (psnr 9)" in told and "http://tracking/run" in told
    assert f"run_all.py --preset {sweep.folder / 'best.yaml'}" in told


def test_when_all_have_failed_no_best_of_an_earlier_execution_is_left(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    write_results(sweep, grid_records([1, 2, 3, 4, 9, 5]))
    results = write_results(sweep, [record({GAMMA: 0.5, OMEGA: 1.0}, None, "failed", reason="no light")])
    assert [path.name for path in results.files] == ["results.csv", "results.md"]
    assert "best:" not in end_summary(sweep, results, Parent())  # type: ignore[arg-type]


def test_metrics_of_a_split_are_shown_beside_the_one_that_counts(tmp_path: Path) -> None:
    one = Record({GAMMA: 0.5, OMEGA: 1.0}, "done", {"1": {"split_train/ssim": 0.5, "split_train/psnr": 20.0}})
    results = Results(sweep_of(tmp_path, metric="split_train/ssim"), [one])
    assert results.shown_metrics() == ["split_train/ssim", "split_train/psnr"]


# ------------------------------------------------------------------------------------------------ pictures


def test_a_cell_of_the_heat_map_is_the_darker_the_better_it_is(tmp_path: Path) -> None:
    def mean(folder: str, mode: str, values: list[float]) -> float:
        sweep = sweep_of(tmp_path / folder, mode=mode)
        write_results(sweep, grid_records(values))
        return float(picture(sweep).mean())

    mostly_good, mostly_bad = [9, 9, 9, 9, 9, 1.0], [1, 1, 1, 1, 1, 9.0]
    assert mean("a", "max", mostly_good) < mean("b", "max", mostly_bad)
    assert mean("c", "min", mostly_bad) < mean("d", "min", mostly_good)


@pytest.mark.parametrize(
    "search",
    [
        {GAMMA: [0.25, None, 1.0]},
        {GAMMA: {"low": 0.1, "high": 1.0, "log": True}},
        {GAMMA: {"low": 0.1, "high": 1.0}, OMEGA: [1.0, 2.0]},
        {GAMMA: [0.25, 1.0], OMEGA: [1.0, 2.0], "sampling.guidance": ["none", "animation"], "seed": [0, 1]},
    ],
    ids=["one list", "one range", "range and list", "four lists"],
)
def test_every_kind_of_search_has_a_picture_with_whatever_became_of_its_trials(tmp_path: Path, search: dict) -> None:
    ranges = any(isinstance(domain, dict) for domain in search.values())
    more = {"algorithm": "random", "trials": 3} if ranges else {}
    sweep = sweep_of(tmp_path, search=search, **more)
    trials = sweep.spec.known_trials()
    records = [
        record(dict(trials[0].values), 3.0),
        record(dict(trials[1].values), 2.0, "stopped", share="0.5"),
        record(dict(trials[2].values), None, "failed", reason="no light"),
    ]
    write_results(sweep, records)
    panels = len(search)
    assert (picture(sweep) == ORANGE).all(axis=2).sum() > 50 * panels  # the best one, marked in each


def test_the_specification_kept_with_the_results_is_yaml(tmp_path: Path) -> None:
    from orchestration.sweeps.driver import write_spec

    sweep = sweep_of(tmp_path)
    write_spec(sweep)
    assert SweepSpec(**yaml.safe_load((sweep.folder / "sweep.yaml").read_text())) == sweep.spec


def test_a_metric_of_held_out_clips_where_there_are_none_says_what_to_do():
    with pytest.raises(ValueError, match=r"preprocess.test_share.*metric: split_train/psnr"):
        check_metric("psnr", {"split_train/psnr": 20.0})
    check_metric("split_train/psnr", {"split_train/psnr": 20.0})
