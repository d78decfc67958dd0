"""The settings of the evaluation and the registry of metrics."""

from typing import get_args

import pytest

from hia.config import ConfigError
from hia.config.evaluation import ALWAYS, CHEAP, MetricName, own_weights
from hia.config.metrics import FIGURES, METRICS, Metric, figure_info, figure_key, in_order
from hia.evaluation.metrics import USUAL, WITH_NETWORK, check_registry, load_metrics
from hia.evaluation.video_metrics import MEASURES
from hia.evaluation.weights.locate import weight_files
from hia.evaluation.weights.registry import OFFICIAL


def test_the_configuration_knows_all_metrics():
    assert set(get_args(MetricName)) == set(METRICS) == set(MEASURES) | set(WITH_NETWORK)
    assert set(ALWAYS) <= set(CHEAP) < set(USUAL)
    assert not [name for name in CHEAP if "vgg" in name]


def test_frames_are_always_measured_whatever_else_is(tiny_config):
    assert tiny_config("evaluation.metrics=[fvd,psnr]").evaluation.names == ("psnr", "ssim", "l1", "l1_disco", "fvd")
    assert tiny_config().evaluation.names == CHEAP


@pytest.mark.parametrize(("network", "group"), [(None, "frames"), ("unknown", "distance"), ("i3d", "frames")])
def test_an_entry_without_code_or_weights_is_refused(network, group):
    entry = Metric(name="new", group=group, network=network, figures={})
    with pytest.raises(AssertionError, match="new"):
        check_registry({**METRICS, "new": entry})


def test_figures_are_in_order_and_those_of_other_weights_are_explained():
    assert in_order({"x", "fvd", "psnr", "face_l1"}) == ["psnr", "face_l1", "fvd", "x"]
    assert len(FIGURES) == sum(len(metric.figures) for metric in METRICS.values())
    names = [figure_key(name, "net", known=False) for name in ("fvd", "lpips_vgg", "csim")]
    assert names == ["fd[net]", "distance[net]", "cosine[net]"] and figure_key("fvd", "i3d", known=True) == "fvd"
    assert [figure_info(name).better for name in names] == [-1, -1, 1]
    assert all("not comparable" in figure_info(name).description for name in names)


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
    assert {METRICS[name].network for name in WITH_NETWORK} == {*OFFICIAL, "arcface"} and weight_files("psnr") == []
    metrics = load_metrics(["lpips_alex", "lpips_vgg_disco", "fvd"])
    for name, network in metrics.networks.items():
        assert {str(file) for file in weight_files(name)} == set(network.provenance.files)
        assert METRICS[name].network == network.provenance.network
    (own,) = load_metrics(None, {"csim": "mobilefacenet"}, usual=()).networks.values()
    assert [str(file) for file in weight_files("csim", "mobilefacenet")] == list(own.provenance.files)
