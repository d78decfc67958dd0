"""Learning rate, optimizer and moving average, against their formulas."""

import math

import pytest
import torch
from torch import nn

from hia.config import OptimizerConfig, Stage
from hia.config.stages import SPATIAL
from hia.training.optimizer import MovingAverage, learning_rate_factor, make_optimizer


def test_warm_up_is_linear_and_takes_a_tenth_of_a_short_stage_at_most():
    config = OptimizerConfig(warmup_steps=500)
    long = [learning_rate_factor(step, config, 35_000) for step in (0, 249, 499, 500, 34_999)]
    assert long == [1 / 500, 250 / 500, 1.0, 1.0, 1.0]
    assert [learning_rate_factor(step, config, 40) for step in (0, 3, 4)] == [0.25, 1.0, 1.0]


def test_a_cosine_ends_at_its_share():
    config = OptimizerConfig(warmup_steps=0, decay="cosine", final_share=0.1)
    assert learning_rate_factor(0, config, 100) == 1.0
    assert learning_rate_factor(50, config, 100) == pytest.approx(0.55)
    assert learning_rate_factor(25, config, 100) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate_factor(100, config, 100) == pytest.approx(0.1)


def test_a_stage_may_have_a_learning_rate_of_its_own():
    weights = [nn.Parameter(torch.zeros(1))]
    config = OptimizerConfig(learning_rate=1e-5)
    assert make_optimizer(weights, config, SPATIAL).param_groups[0]["lr"] == 1e-5
    own = Stage(name="spatial", trains=("unet",), iterations=1, learning_rate=1e-3)
    assert make_optimizer(weights, config, own).param_groups[0]["lr"] == 1e-3


def test_the_moving_average_forgets_faster_at_first():
    weight = nn.Parameter(torch.zeros(1))
    average = MovingAverage({"w": weight}, decay=0.9)
    expected = 0.0
    for step in range(1, 200):
        weight.data.fill_(float(step))
        average.update({"w": weight}, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.weights["w"]) == pytest.approx(expected, rel=1e-5)


def test_a_step_must_be_shared_evenly_by_the_workers():
    stage = Stage(name="spatial", trains=("unet",), iterations=1, global_batch_size=12, micro_batch_size=2)
    assert [stage.accumulation(workers) for workers in (1, 2, 3, 6)] == [6, 3, 2, 1]
    with pytest.raises(ValueError, match=r"6 micro-batches .* which 4 workers cannot share evenly"):
        stage.accumulation(4)
    with pytest.raises(ValueError, match="not a multiple of micro_batch_size 5"):
        Stage(name="spatial", trains=("unet",), iterations=1, global_batch_size=12, micro_batch_size=5)
