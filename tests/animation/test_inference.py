"""Animation as a library call: previews, laziness, reproducibility, bounded memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import hia.animation.inference
import hia.conditions.driving
from hia.animation.inference import animate, default_sharpness
from hia.conditions.blur import SharpnessScale
from hia.conditions.driving import driving_signal
from hia.config import CodecConfig, ConditionsConfig
from hia.images import fit_to_size, to_tensor
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.models.image_encoder import ImageEncoder
from hia.pose.keypoints import KeypointSequence
from hia.visualization.skeleton import with_insets

FRAMES = 9


@pytest.fixture(scope="module")
def model(tiny_config, as_if_trained):
    config = tiny_config("schedule.prediction_type=v_prediction")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        patch_size=56,
        projection_dim=16,
    )
    encoder = ImageEncoder(CLIPVisionModelWithProjection(vision))
    animator = as_if_trained(build_animator(config, motion=True)[0])
    codec = build_codec(CodecConfig(kind="pixel", factor=4))
    return AnimationModel(config, animator, codec, encoder, SharpnessScale(p5=1.0, p75=3.0, p95=5.0))


@pytest.fixture
def reference():
    return np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)


@pytest.fixture
def driving(model):
    random = np.random.default_rng(0)
    keypoints = np.cumsum(random.normal(0, 1, (FRAMES, 133, 2)), axis=0) + random.uniform(5, 30, (133, 2))
    sequence = KeypointSequence(keypoints, np.ones((FRAMES, 133)), width=32, height=48, fps=30)
    return driving_signal(sequence, 32, 48, default_sharpness(model))


def frames_of(model, reference, driving, **options):
    return np.stack(list(animate(model, reference, driving, **options))).astype(int)


def test_a_signal_drawn_for_another_models_conditions_is_refused(model, reference, driving):
    bare = replace(driving, conditions=ConditionsConfig(blur=False, maps=("depth",)))
    with pytest.raises(ValueError, match="shows skeleton, depth, the model reads skeleton, blur"):
        animate(model, reference, bare)


def test_insets_show_the_blur_condition_where_there_is_one(driving):
    frame = np.full((48, 32, 3), 200, np.uint8)
    bare = replace(driving, conditions=ConditionsConfig(blur=False, maps=("depth",)))
    both, one = (with_insets(frame, signal.control_image(2), signal.conditions.blur) for signal in (driving, bare))
    assert (both[:14, :10] == one[:14, :10]).all(), "the skeleton"
    assert (both[:14, -10:] != 200).any() and (one[:14, -10:] == 200).all()


def test_one_frame_per_driving_frame_in_its_size(model, reference, driving):
    assert frames_of(model, reference, driving).shape == (FRAMES, 48, 32, 3)


def test_the_window_batch_changes_nothing_but_rounding(model, reference, driving):
    one, three = (
        frames_of(model, reference, driving, sampling=replace(model.config.sampling, window_batch=batch))
        for batch in (1, 3)
    )
    assert np.abs(one - three).max() <= 1


def test_the_seed_decides(model, reference, driving):
    one, again, other = (frames_of(model, reference, driving, seed=seed) for seed in (4, 4, 5))
    assert (one == again).all() and (one != other).any()


def test_the_reference_picture_reaches_the_frames_through_its_token_too(model, reference, driving):
    with_token = frames_of(model, reference, driving)
    without = frames_of(replace(model, image_encoder=None), reference, driving)
    assert (with_token != without).any()


def test_previews_come_every_step_and_show_the_middle_frame(model, reference, driving):
    previews = []
    frames = frames_of(model, reference, driving, on_preview=previews.append)
    assert [(preview.step, preview.steps) for preview in previews] == [(1, 3), (2, 3), (3, 3)]
    assert np.abs(previews[-1].frame - frames[FRAMES // 2]).max() <= 1, "the last estimate is the result"


def test_frames_are_decoded_as_they_are_asked_for(model, reference, driving, monkeypatch):
    decoded = []
    decode = hia.animation.inference._decode
    monkeypatch.setattr(
        hia.animation.inference, "_decode", lambda m, latents: decoded.append(len(latents)) or decode(m, latents)
    )
    frames = animate(model, reference, driving, replace(model.config.sampling, decode_batch=2))
    next(frames)
    assert decoded == [2]
    assert len(list(frames)) == FRAMES - 1 and decoded == [2, 2, 2, 2, 1]


def test_no_more_control_images_are_kept_than_fit_the_budget(model, reference, driving, monkeypatch):
    drawn = []
    draw = hia.conditions.driving.render_control
    monkeypatch.setattr(
        hia.conditions.driving, "render_control", lambda *given, **options: drawn.append(1) or draw(*given, **options)
    )
    whole = frames_of(model, reference, driving)
    assert len(drawn) == FRAMES, "drawn once when all fit"
    monkeypatch.setattr(hia.animation.inference, "CONTROL_CACHE_BYTES", 1)
    assert (frames_of(model, reference, driving) == whole).all()
    assert len(drawn) > 2 * FRAMES


def test_a_model_with_an_image_encoder_survives_saving(model, reference, driving, tmp_path):
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert (frames_of(loaded, reference, driving) == frames_of(model, reference, driving)).all()


def test_the_model_sees_the_fitted_reference_and_each_frames_own_control(model, reference, driving, monkeypatch):
    given = {}

    class Recording(hia.animation.inference.GuidedPredictor):
        def __init__(self, animator, reference_latents, image_token, control_images, *rest):
            given.update(latents=reference_latents, controls=control_images([3, 8]))
            super().__init__(animator, reference_latents, image_token, control_images, *rest)

    monkeypatch.setattr(hia.animation.inference, "GuidedPredictor", Recording)
    frames_of(model, reference, driving)
    fitted = to_tensor(fit_to_size(reference, 32, 48))[None]
    assert torch.equal(given["latents"], model.codec.encode(fitted)[0])
    for control, frame in zip(given["controls"], (3, 8), strict=True):
        np.testing.assert_array_equal(control.numpy(), driving.control_image(frame))


def test_what_cannot_be_done_is_refused_before_the_first_frame_is_asked_for(model, reference, driving):
    with pytest.raises(ValueError, match="no scheduler"):
        animate(model, reference, driving, replace(model.config.sampling, scheduler="Nothing"))


def test_an_image_encoder_of_another_width_is_refused(model, tiny_config):
    narrow, _ = build_animator(tiny_config("network.cross_attention_dim=8"))
    with pytest.raises(ValueError, match="token has 16 channels, the networks read 8"):
        replace(model, animator=narrow)


def test_a_hand_that_was_not_seen_has_no_sharpness(driving):
    measured = np.full((FRAMES, 2), 0.5)
    measured[2, 1] = np.nan
    assert np.isnan(driving_signal(driving.keypoints, 32, 48, measured).sharpness[2, 1])


def test_on_the_scale_of_ranks_the_default_is_their_p75(model, tiny_config):
    ranked = replace(model, config=tiny_config("conditions.sharpness_scale=clip"))
    assert default_sharpness(ranked) == 0.75


def test_sharpness_is_the_knob_or_the_training_sets_p75(model):
    assert default_sharpness(model) == pytest.approx((3.0 - 1.0) / (5.0 - 1.0))
    assert 0 < default_sharpness(replace(model, sharpness=None)) < 1


def test_sharpness_of_another_shape_or_range_is_refused(driving):
    with pytest.raises(ValueError, match=r"\[9, 2\], not \[3\]"):
        driving_signal(driving.keypoints, 32, 48, np.zeros(3))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        driving_signal(driving.keypoints, 32, 48, float("nan"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"window": 40}, "window is 40 .* reach over 32"), ({"scheduler": "Nothing"}, "no scheduler 'Nothing'")],
)
def test_settings_the_model_cannot_follow_are_refused(model, reference, driving, changes, reason):
    with pytest.raises(ValueError, match=reason):
        frames_of(model, reference, driving, sampling=replace(model.config.sampling, **changes))


def test_a_size_the_codec_cannot_have_is_refused(model, reference, driving):
    with pytest.raises(ValueError, match="width 34 is not a multiple of 4"):
        frames_of(model, reference, driving_signal(driving.keypoints, 34, 48, 0.5))
