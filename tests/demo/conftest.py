"""A backend with a tiny model, and files for it."""

from pathlib import Path

import pytest

from hia.demo.backend import LocalBackend
from hia.demo.session import Controls
from hia.models.animation_model import AnimationModel
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.serving.generator import Generator
from hia.weights.find import MissingWeights
from tests.serving.example_requests import LIMITS, motion, npz, picture


def no_networks():
    raise MissingWeights("none here")


@pytest.fixture(scope="session")
def model(tiny_config, as_if_trained) -> AnimationModel:
    config = tiny_config("schedule.prediction_type=v_prediction")
    return AnimationModel(config, as_if_trained(build_animator(config, motion=True)[0]), build_codec(config.codec))


@pytest.fixture
def backend(model) -> LocalBackend:
    return LocalBackend(Generator(model, LIMITS, "tiny/1", no_networks))


@pytest.fixture
def person(tmp_path) -> Path:
    file = tmp_path / "person.png"
    file.write_bytes(picture())
    return file


@pytest.fixture
def dance(tmp_path) -> Path:
    file = tmp_path / "dance.npz"
    file.write_bytes(npz(motion()))
    return file


@pytest.fixture
def controls(backend, person, dance):
    """The page's controls at their initial values, with both files chosen, and with the given changes."""

    def make(**changes) -> Controls:
        defaults = backend.defaults
        untouched = {"sharpness": defaults.sharpness, "guidance_scale": defaults.guidance_scale}
        untouched |= {"seed": 0, "steps": defaults.steps, "align": False, "person": None}
        return Controls(**({"picture": str(person), "motion": str(dance)} | untouched | changes))

    return make
