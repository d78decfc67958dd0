"""The paper's tables: rows over one base, run or reused, shown beside the paper's figures."""

import csv
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.paper_tables.layout import MeasuredTable
from experiments.paper_tables.running import Measured
from experiments.paper_tables.spec import base_config, base_path, configs_of, load_table
from experiments.tables import main
from hia.config import ConfigError
from tests.conftest import TINY_CONFIG
from tests.orchestration.sweeps.toy import FAILS, ran, sweep_stages


def test_rows_are_those_of_the_paper():
    assert [len(load_table(number).rows) for number in (1, 2, 3)] == [4, 5, 5]
    for number in (1, 2, 3):
        assert all("humandance" in row.paper for row in load_table(number).rows)
    assert all("tiktok" in row.paper for row in load_table(1).rows)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_last_row_is_the_full_method(number):
    base, *_, last = base_config("paper", [], None), *configs_of(load_table(number), "paper", [], None)
    assert (last.sampling, last.stages, last.schedule, last.network) == (
        base.sampling,
        base.stages,
        base.schedule,
        base.network,
    )


def test_no_two_rows_of_a_table_are_alike_over_the_paper_and_the_smoke_preset():
    for base in ("paper", "smoke"):
        for number in (1, 2, 3):
            configs = configs_of(load_table(number), base, [], "videos")
            assert len(set(map(repr, configs))) == len(configs)
            assert {config.data for config in configs} == {"videos"}


def test_rows_of_the_third_table_differ_in_sampling_alone():
    configs = configs_of(load_table(3), "smoke", [], None)
    assert len({(config.stages, config.schedule, config.network, config.conditions) for config in configs}) == 1


def test_changes_are_made_to_every_row_and_wrong_ones_name_the_row():
    assert {one.seed for one in configs_of(load_table(2), "smoke", ["seed=5"], None)} == {5}
    with pytest.raises(ConfigError, match=r"row '1\) w/o regional supervision'.*unknown key stages.spacial"):
        configs_of(load_table(2), "smoke", ["stages.spacial.iterations=5"], None)
    with pytest.raises(ConfigError, match=r"unknown preset 'smok': choose one of smoke, laptop"):
        base_path("smok")


# ---------------------------------------------------------------------------------------------------- as it is told


def filled(number=2, dataset="humandance", base="paper", **figures) -> MeasuredTable:
    rows = load_table(number).rows
    measured = [
        Measured(row, {name: values[index] for name, values in figures.items() if values[index] is not None})
        for index, row in enumerate(rows)
    ]
    return MeasuredTable(number, "training", dataset, base_config(base, [], None), measured)


PSNR, L1 = [20.0, 21.5, 21.5, 19.0, 18.0], [3e-5, 2e-5, 4e-5, 5e-5, 6e-5]


def cells(markdown: str, row: int) -> list[str]:
    return [cell.strip() for cell in markdown.split("\n\n")[1].splitlines()[2 + row].split("|")[1:-1]]


def test_each_row_stands_above_what_the_paper_says_of_it():
    text = filled(psnr=PSNR, l1_disco=L1).as_markdown()
    assert cells(text, 0)[:3] == ["1) w/o regional supervision", "3.00e-05", "20.00"]
    assert cells(text, 1)[:5] == ["*paper*", "*3.01e-05*", "*20.35*", "*0.801*", "*0.0751*"]
    assert cells(text, 9)[5:8] == ["*17.84*", "*4.91*", "*50.33*"]


def test_the_best_of_a_column_is_marked_in_its_direction():
    text = filled(psnr=PSNR, l1_disco=L1).as_markdown()
    assert cells(text, 2)[1:3] == ["**2.00e-05**", "**21.50**"] and cells(text, 4)[2] == "**21.50**"
    assert "**" not in filled(psnr=[20.0] * 5).as_markdown(), "equal figures have no best one"


def test_what_was_not_measured_is_a_dash_and_is_named():
    text = filled(psnr=[*PSNR[:4], None]).as_markdown()
    assert cells(text, 8)[1:3] == ["–", "–"]
    assert "Not measured" in text and "FVD (DisCo)" in text.split("Not measured")[1]


def test_the_lpips_that_was_measured_names_its_variant():
    assert "LPIPS (AlexNet)↓" in filled(lpips_alex=PSNR).as_markdown()
    assert "LPIPS (VGG, DisCo)↓" in filled(lpips_alex=PSNR, lpips_vgg_disco=PSNR).as_markdown()


def test_a_network_that_is_not_the_official_one_never_fills_a_column():
    assert cells(filled(fd_i3d=PSNR, psnr=PSNR).as_markdown(), 0)[7] == "–"


def test_the_reader_is_told_what_the_figures_are():
    assert "not comparable" in filled(psnr=PSNR).as_text()
    assert "SMOKE RESULTS" in filled(psnr=PSNR, base="smoke").as_text()
    assert "SMOKE" not in filled(psnr=PSNR).as_text()
    trained = {"split_train/psnr": PSNR}
    assert "TRAINED ON" in filled(**trained).as_text() and cells(filled(**trained).as_markdown(), 0)[2] == "20.00"


def test_the_second_dataset_has_its_own_figures():
    assert cells(filled(1, "tiktok", psnr=PSNR).as_markdown(), 1)[2] == "*15.50*"
    assert cells(filled(2, "tiktok", psnr=PSNR).as_markdown(), 1)[2] == ""


# ------------------------------------------------------------------------------------------------------- as it runs


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "numbers.txt").write_text("3 1 2")
    return tmp_path


def fill(place: Path, *more: str, number: int = 3) -> int:
    changes = (f"preprocess.test_list={place / 'numbers.txt'}", f"storage={place / 'runs'}")
    return main(["--table", str(number), "--preset", str(TINY_CONFIG), "--set", *changes, *more], sweep_stages)


def runs(place: Path, kind: str):
    client = MlflowClient(f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`hia.kind` = '{kind}'")


@pytest.mark.slow
def test_one_model_is_trained_for_all_ways_of_sampling(place, capsys):
    assert fill(place) == 0
    assert ran(place).count("steps") == 1, "nothing is trained twice"
    text = capsys.readouterr().out
    assert "Table 3" in text and "A-cfg ✗  PT ✗  IRN ✗" in text and "ran numbers, steps, evaluate" in text
    (table,), rows = runs(place, "table"), runs(place, "trial")
    assert table.info.status == "FINISHED" and "## Result" in table.data.tags["mlflow.note.content"]
    assert len(rows) == 5 and {run.data.tags["mlflow.parentRunId"] for run in rows} == {table.info.run_id}
    assert {run.data.tags["ablation"] for run in rows} >= {"sampling_none", "sampling_all"}
    assert all("psnr" in run.data.metrics for run in rows)
    (file,) = (place / "runs" / "tables").glob("table_3-*/table.csv")
    assert [line["paper/psnr"] for line in csv.DictReader(file.open())] == ["20.33", "20.45", "20.44", "20.34", "20.45"]


@pytest.mark.slow
def test_asked_for_again_everything_is_reused(place, capsys):
    assert fill(place) == 0
    before = ran(place)
    assert fill(place) == 0
    assert ran(place) == before and capsys.readouterr().out.count("all reused") >= 5
    assert len(runs(place, "table")) == 1 and len(runs(place, "trial")) == 5


@pytest.mark.slow
def test_a_row_that_fails_is_told_of_and_the_others_are_measured(place, capsys):
    (place / FAILS).write_text("7.5")
    assert fill(place, number=1) == 1
    told = capsys.readouterr().out.partition("MagicAnimate-style: failed:")[2]
    assert "nothing can be seen at 7.5" in told
    (file,) = (place / "runs" / "tables").glob("table_1-*/table.csv")
    assert [line["psnr"] != "nan" for line in csv.DictReader(file.open())] == [False, True, True, True]
    assert sorted(run.info.status for run in runs(place, "trial")) == ["FAILED", *["FINISHED"] * 3]


def test_a_dry_run_says_what_each_row_needs_and_does_nothing(place, capsys):
    assert fill(place, "--dry-run") == 0
    assert capsys.readouterr().out.count("never run before") >= 5
    assert not (place / "runs").exists() and ran(place) == []


def test_a_wrong_key_is_refused_before_any_work(place, capsys):
    assert fill(place, "sampling.omega=2") == 2
    assert "unknown key sampling.omega" in capsys.readouterr().err and not (place / "runs").exists()
