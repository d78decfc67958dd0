"""The README of the evaluation: its tables agree with the registry, and its paths exist."""

import re
from pathlib import Path

from hia.config.metrics import GROUPS, METRICS, Metric
from hia.evaluation.protocol.clips import BASELINE, CAP, OURS
from hia.evaluation.weights.registry import OFFICIAL

README = Path(__file__).parents[2] / "hia" / "evaluation" / "README.md"


def metric_row(metric: Metric) -> str:
    figures = ", ".join(f"`{name}`{info.arrow}" for name, info in metric.figures.items())
    chosen = {"always": metric.always, "CPU, GPU": metric.cheap and metric.usual, "GPU": metric.usual}
    default = next((text for text, applies in chosen.items() if applies), "–")
    network = f"`{metric.network}`" if metric.network else "–"
    return f"| `{metric.name}` | {figures} | {network} | {default} |"


def rows_below(heading: str) -> list[str]:
    section = README.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_the_table_of_metrics_is_that_of_the_registry():
    ordered = [metric for group in GROUPS for metric in METRICS.values() if metric.group == group]
    assert rows_below("Metrics") == [metric_row(metric) for metric in ordered]


def test_every_network_has_its_licence_and_every_method_its_meaning():
    named = {name for row in rows_below("Weights") for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {*OFFICIAL, "arcface"}
    methods = [row.split("`")[1] for row in rows_below("Protocols")]
    assert methods == [*OURS.values(), BASELINE, CAP]


def test_modules_of_the_map_exist_and_are_all():
    folder = README.parent
    named = {name.strip("/") for row in rows_below("Modules") for name in re.findall(r"`([\w/]+)`", row.split("|")[1])}
    named |= {"networks"}
    there = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
    }
    assert named == there


def test_it_can_be_read_in_one_go():
    assert len(README.read_text("utf-8").splitlines()) <= 150
