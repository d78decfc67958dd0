"""LPIPS in its three variants: on real pictures the numbers of the published package, and the names they go by."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hia.evaluation.networks.lpips import Lpips
from hia.evaluation.perceptual import PerceptualDistance, load_perceptual
from hia.images import load_image


@pytest.fixture(scope="module")
def weights(sample_data: Path) -> Path:
    return sample_data / "weights"


@pytest.fixture(scope="module")
def variants(weights) -> dict[str, PerceptualDistance]:
    files = {"lpips_vgg_disco": "lpips_vgg16", "lpips_vgg": "lpips_vgg16", "lpips_alex": "lpips_alexnet"}
    return {name: load_perceptual(name, weights / f"{file}.safetensors") for name, file in files.items()}


@pytest.fixture(scope="module")
def people(sample_data: Path) -> list[np.ndarray]:
    """Two real pictures of 96×112 px, each as a video of one frame."""
    names = ("astronaut_collins", "man_red_polo")
    images = [load_image(sample_data / "images" / f"{name}.jpg") for name in names]
    return [cv2.resize(image, (96, 112), interpolation=cv2.INTER_AREA)[None] for image in images]


@pytest.mark.parametrize(("name", "expected"), [("lpips_alex", 0.657233), ("lpips_vgg", 0.726842)])
def test_real_pictures_have_the_distance_of_the_lpips_package(variants, people, name, expected):
    # Made with lpips 0.1.4 on torchvision's trunks and the published weights.
    assert variants[name](*people) == pytest.approx([expected], abs=2e-3)


def test_disco_feeds_the_same_network_half_the_range(variants, people):
    network = variants["lpips_vgg"].network
    halved = [network_input(frames) for frames in people]
    assert variants["lpips_vgg_disco"](*people)[0] == pytest.approx(float(network(*halved)), rel=1e-5)
    assert variants["lpips_vgg_disco"](*people)[0] != pytest.approx(variants["lpips_vgg"](*people)[0], rel=1e-3)


def network_input(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255


def test_every_pair_of_frames_is_measured_for_itself(variants, people):
    one, other = people
    clip, changed = np.concatenate([one, other, one]), np.concatenate([other, other, one // 2])
    for distance in variants.values():
        values = distance(clip, changed)
        assert values.shape == (3,) and values.dtype == np.float64
        assert values[1] == 0 and values[0] > values[2] > 0
        assert values[0] == pytest.approx(distance(one, other)[0], rel=1e-5)


def test_exchanging_red_and_blue_changes_it(variants, people):
    one, other = people
    for distance in variants.values():
        assert abs(distance(one[..., ::-1], other[..., ::-1])[0] - distance(one, other)[0]) > 1e-4


def test_only_official_weights_give_the_published_name(variants, tmp_path):
    assert {name: distance.key for name, distance in variants.items()} == {name: name for name in variants}
    save_file(Lpips("alex").state_dict(), tmp_path / "lpips_alexnet.safetensors")
    own = load_perceptual("lpips_alex", tmp_path / "lpips_alexnet.safetensors")
    assert own.key == "distance[lpips_alex]"


@pytest.mark.parametrize(("name", "side"), [("lpips_alex", 31), ("lpips_vgg", 16), ("lpips_vgg_disco", 16)])
def test_pictures_are_refused_just_when_they_are_too_small_for_the_network(variants, name, side):
    assert np.isfinite(variants[name](*np.random.default_rng(0).integers(0, 256, (2, 1, side, side, 3), np.uint8)))
    small = np.zeros((1, 40, side - 1, 3), np.uint8)
    with pytest.raises(ValueError, match=f"{name} needs frames of at least {side}×{side} px, not {side - 1}×40"):
        variants[name](small, small)


def test_frames_of_unequal_number_or_size_are_refused(variants, people):
    with pytest.raises(ValueError, match="unequal number or size"):
        variants["lpips_alex"](people[0], np.concatenate(people))
