"""Weights by part: complete, disjoint, and under names that wrapping does not change."""

import pytest
import torch

from hia.models.animation_model import AnimationModel, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.models.parts import all_parameters, load_part, part_parameters

PARTS = ("appearance_encoder", "controlnet", "unet", "motion")


@pytest.fixture
def animator(tiny_config):
    return build_animator(tiny_config(), motion=True)[0]


def test_parts_are_disjoint_and_leave_only_the_dead_tail(animator):
    names = [name for part in PARTS for name in part_parameters(animator, part)]
    assert len(names) == len(set(names))
    rest = all_parameters(animator).keys() - set(names)
    assert rest and all(name.startswith("appearance_encoder.") for name in rest)


def test_checkpointing_changes_no_name(animator, tiny_config):
    before = set(all_parameters(animator))
    animator.enable_gradient_checkpointing()
    assert set(all_parameters(animator)) == before


def test_a_part_goes_from_one_animator_to_another(animator, tiny_config):
    other, _ = build_animator(tiny_config("seed=9"), motion=True)
    load_part(other, "unet", part_parameters(animator, "unet"), "here")
    ours, theirs = part_parameters(animator, "unet"), part_parameters(other, "unet")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_does_not_fit_is_refused_by_name(animator, tiny_config):
    weights = dict(part_parameters(animator, "controlnet"))
    name = sorted(weights)[0]
    with pytest.raises(ValueError, match=r"file\.x: .*missing: controlnet"):
        load_part(animator, "controlnet", {key: value for key, value in weights.items() if key != name}, "file.x")
    with pytest.raises(ValueError, match="unknown: colour"):
        load_part(animator, "controlnet", weights | {"colour": torch.zeros(1)}, "file.x")
    with pytest.raises(ValueError, match=rf"{name} has the shape \(7,\)"):
        load_part(animator, "controlnet", weights | {name: torch.zeros(7)}, "file.x")


def saved(config, folder, motion):
    model = AnimationModel(config, build_animator(config, motion=motion)[0].half(), build_codec(config.codec))
    save_model(model, folder)
    return model


@pytest.mark.parametrize("motion", [False, True])
def test_training_starts_from_a_model_directory(tiny_config, tmp_path, motion):
    start = saved(tiny_config("seed=5"), tmp_path / "start", motion).animator
    config = tiny_config(f"pretrained.model={tmp_path / 'start'}")
    animator, report = build_animator(config, motion=True)
    for part in PARTS if motion else PARTS[:3]:
        ours, theirs = part_parameters(animator, part), part_parameters(start, part)
        assert all(torch.equal(ours[name], theirs[name].float()) for name in ours), part
        assert report.loaded[part] == str(tmp_path / "start")
    assert {parameter.dtype for parameter in animator.parameters()} == {torch.float32}


def test_a_model_of_another_codec_is_a_start_where_that_is_wanted(tiny_config, tmp_path):
    start = saved(tiny_config("seed=5"), tmp_path / "start", False).animator
    latents = ("codec.latents_mean=[0.5,0.5,0.5]", "codec.latents_std=[2,2,2]")
    config = tiny_config(f"pretrained.model={tmp_path / 'start'}", "pretrained.other_latents=true", *latents)
    animator, _ = build_animator(config, motion=True)
    ours, theirs = part_parameters(animator, "unet"), part_parameters(start, "unet")
    assert all(torch.equal(ours[name], theirs[name].float()) for name in ours)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("schedule.prediction_type=v_prediction", "predicts epsilon, configured is schedule.prediction_type=v_pred"),
        ("codec.factor=2", r"latents of another codec \(codec.factor is 4, configured 2\)"),
        ("network.block_out_channels=[32,96]", "has the shape"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(tiny_config, tmp_path, change, said):
    saved(tiny_config(), tmp_path / "start", False)
    with pytest.raises(ValueError, match=said):
        build_animator(tiny_config(f"pretrained.model={tmp_path / 'start'}", change))
