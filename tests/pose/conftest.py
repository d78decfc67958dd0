"""Tiny networks for all tests of poses."""

from pathlib import Path

import pytest

from hia.pose.top_down import PoseModels, TopDownEstimator
from tests.pose.tiny_onnx import FEET_COLOUR, point, write_detector, write_pose

REAL_SIZE = {"width": 192, "height": 256}
# Nothing listens on the port "discard".
UNREACHABLE = "http://127.0.0.1:9/models/dwpose_384.zip"


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "detector": write_detector(folder / "boxes.onnx"),
        "grid": write_detector(folder / "grid.onnx", form="grid"),
        "pose": write_pose(folder / "pose.onnx"),
        "single": write_pose(folder / "single.onnx", batch=1),
        "point": write_pose(folder / "point.onnx", layout=point(), **REAL_SIZE),
        "feet": write_pose(folder / "feet.onnx", colours=[FEET_COLOUR], layout=point(), **REAL_SIZE),
    }


@pytest.fixture(scope="module")
def estimator(networks):
    def make(detector="detector", pose="pose", feet=None, **options) -> TopDownEstimator:
        places = {"detector": detector, "pose": pose, "feet": feet or pose}
        models = PoseModels(**{role: str(networks.get(name, name)) for role, name in places.items()})
        return TopDownEstimator(models, threads=1, **options)

    return make
