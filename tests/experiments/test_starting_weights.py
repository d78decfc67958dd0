"""The codec and the spatial weights of the quickstart preset, against the claims of their README."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from experiments.starting_weights import dancers
from experiments.starting_weights.animator import configuration, new_animator
from experiments.starting_weights.codec import reconstructed
from experiments.starting_weights.evaluate import Animated, animate_dancer, psnr
from hia.models.animation_model import AnimationModel, load_model
from hia.models.codec import load_codec
from hia.synthetic import write_dancers

WEIGHTS = Path(__file__).parents[2] / "experiments" / "presets" / "quickstart_weights"
MEGABYTE = 10**6
# The sets that the weights were made from have seeds above 1000.
UNSEEN = 77


@pytest.fixture(scope="module")
def dancer(tmp_path_factory) -> Path:
    """Video of a dancer that training has not seen, keypoints beside it."""
    size = {"width": dancers.WIDTH, "height": dancers.HEIGHT}
    return write_dancers(tmp_path_factory.mktemp("dancer"), 1, seconds=2, fps=dancers.FPS, seed=UNSEEN, **size)[0]


@pytest.fixture(scope="module")
def model() -> AnimationModel:
    loaded = load_model(WEIGHTS / "animator")
    loaded.animator.float()
    return loaded


@pytest.fixture(scope="module")
def animated(model, dancer) -> Animated:
    return animate_dancer(model, dancer, frames=(8, 15, 23))


def test_the_weights_take_12_megabytes_at_most():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 12 * MEGABYTE


def test_every_number_is_finite_and_kept_in_half_precision():
    for file in WEIGHTS.rglob("*.safetensors"):
        for name, value in load_file(file).items():
            assert value.dtype == torch.float16, f"{file}: {name}"
            assert value.isfinite().all(), f"{file}: {name}"


def test_nothing_in_the_files_tells_of_the_machine_that_made_them():
    for file in WEIGHTS.rglob("*.json"):
        texts = [value for value in _values(json.loads(file.read_text())) if isinstance(value, str)]
        assert not [text for text in texts if text.startswith("/")], file


def test_the_codec_shows_an_unseen_dancer(dancer):
    frames = dancers.read([dancer])[::8]
    assert psnr(reconstructed(load_codec(WEIGHTS / "codec"), frames), frames) > 25


def test_the_model_has_the_codec_that_lies_beside_it(model, dancer):
    frames = dancers.read([dancer])[:1]
    assert np.array_equal(reconstructed(model.codec, frames), reconstructed(load_codec(WEIGHTS / "codec"), frames))


def test_an_unseen_dancer_comes_closer_to_its_frames_than_grey(animated):
    grey = np.full_like(animated.true, 128)
    assert psnr(animated.made, animated.true) > psnr(grey, animated.true) + 4


def test_an_unseen_dancer_follows_the_skeleton(animated):
    """Moving pixels of the generated frames are closer to the truth than the unmoved reference is."""
    still, made = (psnr(frames, animated.true, animated.moved) for frames in (animated.repeated, animated.made))
    assert made > still + 4


def test_it_is_training_that_did_it(model, dancer, animated):
    random = AnimationModel(model.config, new_animator(configuration(WEIGHTS / "codec")), model.codec)
    untrained = animate_dancer(random, dancer, frames=(8, 15, 23))
    assert psnr(animated.made, animated.true) > psnr(untrained.made, animated.true) + 4


def _values(tree: object) -> list[object]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _values(value)]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in _values(value)]
    return [tree]
