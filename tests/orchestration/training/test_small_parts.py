"""Memory, clock and meter."""

from types import SimpleNamespace

import pytest
import torch

from hia.config import load_config
from orchestration.training.memory import check
from orchestration.training.meters import MeanMeter, StepTimer
from orchestration.training.validation import at_size_of
from tests.orchestration.training.tiny_runs import TINY


def test_a_preset_that_does_not_fit_says_what_it_needs_and_has():
    config = load_config("paper", ["training.gpus_per_worker=0", "training.accelerator_type=null"])
    with pytest.raises(
        ValueError, match=r"spatial does not fit: .* need \d+\.\d GiB of this machine for 8 workers .* h"
    ):
        check(config)


def test_the_quickstart_fits():
    check(load_config("quickstart", ["pretrained.model=null"]))


def test_time_is_measured_per_step_and_pauses_do_not_count(monkeypatch):
    now = iter([0.0, 0.1, 0.5, 1.1, 1.4, 10.0, 90.0, 92.0, 92.0])  # the work of other processes does not delay it
    monkeypatch.setattr("orchestration.training.meters.time", SimpleNamespace(perf_counter=lambda: next(now)))
    clock = StepTimer(torch.device("cpu"))
    for _ in range(2):
        with clock.measure("forward"):
            pass
        clock.count_step()
    with clock.pause():
        pass
    assert clock.read() == pytest.approx({"forward": 0.35, "step": 6.0, "data": 0.0, "backward": 0.0, "optimizer": 0.0})


def test_means_go_on_from_a_checkpoint():
    whole, first, second = MeanMeter(), MeanMeter(), MeanMeter()
    for value in (0.1, 0.2, 0.7):
        whole.add({"loss": value})
    first.add({"loss": 0.1})
    second.load(first.state())
    second.add({"loss": 0.2})
    second.add({"loss": 0.7})
    assert second.read() == whole.read() == {"loss": (0.1 + 0.2 + 0.7) / 3}


def test_previews_of_a_half_size_stage_are_half_as_large():
    config = load_config(TINY, ["width=512", "height=896"])
    half = at_size_of(config, config.stages.temporal_half)
    assert (half.width, half.height) == (256, 448)
    assert half.gamma == config.gamma == 512 * 512 / (512 * 896), "one value for every stage"
