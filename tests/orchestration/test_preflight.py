"""The checks before any work: they refuse before anything heavy is imported, and let nothing pass that does not fit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hia.config import Config, load_config
from orchestration.names import stage_names
from orchestration.stages.chain_stages import chain_stages
from orchestration.stages.content_hashes import ContentHashes
from orchestration.training.memory import most_weights
from tests.conftest import REPOSITORY, TINY_CONFIG

Configure = Callable[..., Config]
# What takes seconds to import.
HEAVY = ("torch", "diffusers", "transformers", "mlflow", "ray", "deepspeed", "pandas")
# Runs commands that are refused (status 2), then one that is not, and prints what heavy was imported after each.
SCRIPT = """
import json, sys
import orchestration.{module} as command
for arguments in {refused}:
    assert command.main(arguments) == 2, arguments
    print(json.dumps([name for name in {heavy} if name in sys.modules]))
if {accepted}:
    assert command.main({accepted}) == 0
    print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""


def imported(module: str, refused: list[list[str]], accepted: list[str], folder: Path) -> list[list[str]]:
    script = SCRIPT.format(module=module, refused=refused, accepted=accepted, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_nothing_heavy_is_imported_before_the_configuration_is_known_to_be_right(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = [
        ["--preset", "nope"],
        ["--set", "schedule.gama=1"],
        ["--set", "schedule.gamma=-1"],
        ["--data", "nowhere"],
        ["--data", "empty"],
        ["--data", "."],
        ["--from", "nope"],
        ["--only", "nope"],
    ]
    *after_refusals, after_a_plan = imported("run_all", refused, ["--preset", "quickstart", "--dry-run"], tmp_path)
    assert after_refusals == [[]] * len(refused)
    assert after_a_plan == [], "a plan looks for weight files, but reads none, builds no network and meets no cluster"


def test_a_sweep_that_cannot_be_is_refused_as_early(tmp_path: Path) -> None:
    (tmp_path / "range.yaml").write_text("search: {schedule.gamma: {low: 0, high: 1}}")
    (tmp_path / "key.yaml").write_text("search: {schedule.gama: [1]}")
    refused = [["nowhere.yaml"], ["range.yaml"], ["key.yaml"], ["key.yaml", "--set", "seed"]]
    assert imported("sweep", refused, [], tmp_path) == [[]] * len(refused)


@pytest.mark.parametrize("more", [[], ["data=videos"], ["stages.regional.iterations=0"]])
def test_the_names_of_the_stages_are_those_of_the_chain(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_config: Configure
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config(*more)
    assert stage_names(config) == tuple(stage.name for stage in chain_stages(config, ContentHashes()))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("quickstart", []),
        ("small", []),
        ("paper", []),
        (TINY_CONFIG, ["network.layers_per_block=3", "network.cross_attention_dim=4096"]),
        (TINY_CONFIG, ["conditions.maps=[depth, normal]", "network.motion_mid_block=false"]),
    ],
)
def test_what_is_taken_to_fit_without_building_the_networks_does(name: str, changes: list[str]) -> None:
    from orchestration.training.memory import animator_without_memory

    config = load_config(name, changes)
    weights = sum(parameter.numel() for parameter in animator_without_memory(config).parameters())
    assert weights <= most_weights(config) < 10 * weights
