"""The registry of pose estimators: the configured one is loaded, and the files that its settings name are known."""

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from hia.config import PoseConfig
from hia.config.types import map_paths
from hia.pose.estimators import ESTIMATORS, EstimatorEntry, load_pose_estimator, model_files


def test_every_mode_of_the_configuration_has_an_estimator_and_its_files_are_settings():
    assert set(ESTIMATORS) == set(get_args(get_type_hints(PoseConfig)["mode"]))
    for entry in ESTIMATORS.values():
        assert set(entry.file_settings) <= set(PoseConfig.__dataclass_fields__)


def test_the_configured_networks_are_loaded(networks, estimator):
    files = {role: str(networks[name]) for role, name in {"detector": "grid", "pose": "pose", "feet": "feet"}.items()}
    loaded = load_pose_estimator(PoseConfig(**files, device="cpu"), threads=1)
    assert loaded.fingerprint == estimator(detector="grid", feet="feet").fingerprint


def test_settings_reach_the_estimator_that_the_mode_names(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "lightweight", EstimatorEntry(lambda *given: given, ("pose",)))
    settings = PoseConfig(mode="lightweight", detector="unused.onnx", pose="pose.onnx")
    assert load_pose_estimator(settings, 3) == (settings, 3)
    assert model_files(settings) == ["pose.onnx"]


def test_only_files_that_are_named_count_and_change():
    settings = PoseConfig(detector="boxes.onnx", feet="https://models/feet.zip", detect_every=4)
    assert model_files(settings) == ["boxes.onnx", "https://models/feet.zip"]
    assert map_paths(settings, str.upper) == PoseConfig(
        detector="BOXES.ONNX", feet="HTTPS://MODELS/FEET.ZIP", detect_every=4
    )
    assert map_paths(PoseConfig(), str.upper) == PoseConfig() and model_files(PoseConfig()) == []


@pytest.mark.parametrize("heavy", ["torch", "onnxruntime", "rtmlib"])
def test_the_registry_is_read_without_loading_an_estimator(heavy):
    program = f"import sys, hia.pose.estimators; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
