"""The settings of the evaluation, and what must agree with the metrics that there are."""

from typing import get_args

import pytest

from hia.config import ConfigError
from hia.config.evaluation import ALWAYS, CHEAP, MetricName, own_weights
from hia.evaluation.metrics import METRICS, USUAL, WITH_NETWORK, load_metrics
from hia.evaluation.weights.locate import NETWORKS, weight_files


def test_the_configuration_knows_all_metrics():
    assert set(get_args(MetricName)) == set(METRICS)
    assert set(ALWAYS) <= set(CHEAP) < set(USUAL)
    assert not [name for name in CHEAP if "vgg" in name]


def test_frames_are_always_measured_whatever_else_is(tiny_config):
    assert tiny_config("evaluation.metrics=[fvd,psnr]").evaluation.names == ("psnr", "ssim", "l1", "l1_disco", "fvd")
    assert tiny_config().evaluation.names == CHEAP


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.metrics=[psnr,pnsr]", "pnsr"),
        ("evaluation.weights=[fvd]", "METRIC=FILE"),
        ("evaluation.weights=[fvd=a,fvd=b]", "once for each metric"),
        ("evaluation.stride=0", "evaluation.stride"),
        ("evaluation.colour=256", "evaluation.colour"),
    ],
)
def test_what_cannot_be_is_refused(tiny_config, override, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(override)


def test_own_weights_are_pairs():
    assert own_weights(["csim=mobilefacenet", "fvd = a=b.pt"]) == {"csim": "mobilefacenet", "fvd": "a=b.pt"}


def test_the_files_of_a_metric_are_those_that_its_network_is_read_from(sample_data, monkeypatch, tmp_path):
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    assert set(NETWORKS) | {"csim"} == set(WITH_NETWORK) and weight_files("psnr") == []
    metrics = load_metrics(["lpips_alex", "lpips_vgg_disco", "fvd"])
    for name, network in metrics.networks.items():
        assert {str(file) for file in weight_files(name)} == set(network.provenance.files)
        assert NETWORKS[name] == network.provenance.network
    (own,) = load_metrics(None, {"csim": "mobilefacenet"}, usual=()).networks.values()
    assert [str(file) for file in weight_files("csim", "mobilefacenet")] == list(own.provenance.files)
