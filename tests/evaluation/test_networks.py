"""The networks of published metrics: the published graphs, and with real weights the published numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hia.evaluation.networks.i3d import InceptionI3d
from hia.evaluation.networks.inception import FidInception
from hia.evaluation.networks.lpips import Lpips
from hia.evaluation.networks.resnet3d import ResNet3d
from hia.weights.load import load_state, load_strict
from tests.evaluation.published_fill import fill, fingerprint, picture


def with_weights(network: nn.Module, file: Path) -> nn.Module:
    load_strict(network, load_state(file), file)
    return network


def test_fids_inception_is_the_graph_of_pytorch_fid():
    features = fill(FidInception())(picture(1, 3, 299, 299))
    assert features.shape == (1, 2048)
    assert fingerprint(features) == pytest.approx([2.4371776, 184.0468578, 39.5176940], rel=1e-4)


def test_fid_vids_resnet_is_the_graph_of_disco():
    features = fill(ResNet3d())(picture(1, 3, 16, 112, 112, low=-110, high=150))
    assert features.shape == (1, 2048)
    assert fingerprint(features) == pytest.approx([100734.4287, 6266958.773, -680972.9985], rel=1e-4)


def test_the_published_resnet_has_267_arrays():
    state = ResNet3d().state_dict()
    assert len([key for key in state if not key.endswith("num_batches_tracked")]) == 267


@pytest.mark.parametrize(
    ("variant", "frames", "expected"),
    [
        ("disco", 16, [0.16761469, 168.5235273, -20.9062622]),
        ("disco", 30, [0.35961773, 183.8588392, -24.3911772]),
        ("videogpt", 16, [0.16903953, 170.0691832, -21.2044388]),
        ("videogpt", 30, [0.43049942, 189.9111448, -23.3485919]),
    ],
)
def test_i3d_is_the_graph_of_its_variant(variant, frames, expected):
    assert fingerprint(fill(InceptionI3d(variant))(picture(1, 3, frames, 224, 224))) == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize(
    ("trunk", "expected"), [("alex", [-0.0030369246, 0.0013622371]), ("vgg", [0.0134697109, 0.0150980288])]
)
def test_lpips_is_the_graph_of_its_package(trunk, expected):
    distances = fill(Lpips(trunk))(picture(2, 3, 70, 90), picture(2, 3, 70, 90, seed=1))
    assert distances.tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "frames", "expected"),
    [
        ("disco", 16, 152.902),
        ("disco", 30, 143.857),
        ("videogpt", 16, 153.274),
        ("videogpt", 30, 151.759),
        ("tensorflow", 16, 152.902),
        ("tensorflow", 30, 151.392),
    ],
)
def test_i3d_tells_black_from_white_by_the_published_distance(sample_data, variant, frames, expected):
    network = with_weights(InceptionI3d(variant), sample_data / "weights" / "i3d_kinetics400.safetensors")
    black, white = (network(torch.full((1, 3, frames, 224, 224), value)) for value in (-1.0, 1.0))
    assert float((black - white).square().sum()) == pytest.approx(expected, abs=5e-4 * expected / 100)


def test_lpips_tells_black_from_white_by_the_published_distance(sample_data):
    network = with_weights(Lpips("alex"), sample_data / "weights" / "lpips_alexnet.safetensors")
    black, white = (torch.full((1, 3, 64, 64), value) for value in (-1.0, 1.0))
    assert float(network(black, white)) == pytest.approx(0.8140, abs=1e-4)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_of_equal_pictures_is_nothing_and_either_way_round_the_same(trunk):
    network = fill(Lpips(trunk))
    one, other = picture(1, 3, 64, 48), picture(1, 3, 64, 48, seed=1)
    assert float(network(one, one)) == 0
    assert float(network(one, other)) == pytest.approx(float(network(other, one)), rel=1e-4)


def test_networks_stay_in_evaluation_mode_and_learn_nothing():
    for network in (Lpips("alex"), InceptionI3d(), FidInception(), ResNet3d()):
        network.train()
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
