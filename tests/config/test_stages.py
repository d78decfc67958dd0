"""The stages as data, and what is refused."""

import pytest

from hia.config import LossWeights, Stage, Stages
from hia.config.stages import REGIONAL, SPATIAL, TEMPORAL_FULL, TEMPORAL_HALF


def test_the_four_stages_train_what_the_paper_says():
    assert set(SPATIAL.trains) == {"appearance_encoder", "controlnet", "unet"}
    assert REGIONAL.trains == ("appearance_encoder",)
    assert TEMPORAL_HALF.trains == TEMPORAL_FULL.trains == ("motion",)


def test_the_recipe_has_the_decided_values():
    assert REGIONAL.losses == LossWeights(noise=1.0, face=1.0, hand=1.0, identity=0.1)
    assert SPATIAL.losses == TEMPORAL_HALF.losses == TEMPORAL_FULL.losses == LossWeights(noise=1.0)
    assert TEMPORAL_HALF.frame_stride == TEMPORAL_FULL.frame_stride == (2, 4)
    assert [stage.frames for stage in Stages().in_order()] == [1, 1, 16, 16]
    assert [stage.condition_dropout for stage in Stages().in_order()] == [0.1, 0.0, 0.1, 0.1]


def test_only_the_regional_stage_looks_at_pixels():
    assert [stage.losses.regional for stage in Stages().in_order()] == [False, True, False, False]


def test_a_stage_without_iterations_is_left_out():
    stages = Stages(regional=Stage(name="regional", trains=("appearance_encoder",), iterations=0))
    assert [stage.name for stage in stages.in_order()] == ["spatial", "temporal_half", "temporal_full"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trains": ()}, "trains is empty"),
        ({"frames": 8}, "clips .* and motion layers belong together"),
        ({"timesteps": (5, 5)}, "timesteps"),
        ({"frame_stride": (3, 2)}, "frame_stride"),
        ({"condition_dropout": 1.2}, r"condition_dropout must lie in \[0, 1\]"),
        ({"resolution_scale": 0.0}, "resolution_scale"),
        ({"iterations": -1}, "iterations"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_impossible_stages_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        Stage(**{"name": "mine", "trains": ("unet",), "iterations": 10} | changes)


def test_negative_loss_weights_are_refused():
    with pytest.raises(ValueError, match="hand must be"):
        LossWeights(hand=-0.1)


def test_stages_keep_their_names():
    with pytest.raises(ValueError, match=r"stages\.spatial.name must be 'spatial'"):
        Stages(spatial=Stage(name="mine", trains=("unet",), iterations=1))
