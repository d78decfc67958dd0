"""Self reenactment: the same signal as in training, and the same animation as `hia animate` would make of it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from hia.animation.inference import animate, default_sharpness
from hia.conditions.blur import SharpnessScale, clip_ranks
from hia.conditions.driving import DrivingSignal
from hia.config import Config, load_config
from hia.config.stages import SPATIAL
from hia.data.sampling import TrainingSamples
from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore, open_store
from hia.evaluation.protocol.reenactment import clip_driving_signal, reconstruct, reenact, true_frames
from hia.models.animation_model import AnimationModel
from hia.models.build import build_animator
from hia.models.codec import build_codec
from tests.conftest import TINY_CONFIG
from tests.evaluation.dancer_store import dancer_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ClipStore:
    return open_store(dancer_store(tmp_path_factory.mktemp("evaluation") / "store"))


@pytest.fixture(scope="module")
def clip(store) -> Clip:
    return store.read(store.clips[0])


def configuration(*overrides: str) -> Config:
    return load_config(TINY_CONFIG, ["sampling.steps=2", "sampling.window=4", "sampling.overlap=1", *overrides])


@pytest.fixture(scope="module")
def model(store, as_if_trained: Callable[[nn.Module], nn.Module]) -> AnimationModel:
    config = configuration()
    animator = as_if_trained(build_animator(config, motion=True)[0]).eval()
    return AnimationModel(config, animator, build_codec(config.codec), sharpness=store.sharpness_scale)


def test_the_control_images_are_those_of_training_to_half_precision(store, clip, model):
    config = configuration("samples.flip_probability=0")
    samples = TrainingSamples(store, config, SPATIAL, seed=0)
    drawn = next(n for n in range(200) if samples.draw(n).clip.id == clip.info.id and samples.draw(n).targets[0] > 2)
    frame = samples.draw(drawn).targets[0]
    signal = clip_driving_signal(model, clip)
    assert np.any(signal.movement[frame]) and not np.isnan(signal.sharpness[frame]).all()
    trained_on = samples[drawn].control[0].numpy()
    np.testing.assert_array_equal(signal.control_image(frame).astype(np.float16), trained_on)


def test_truth_is_the_clip_and_the_result_is_its_first_frame_animated(clip, model):
    truth, generated = reenact(model, clip, seed=3, frames=6)
    np.testing.assert_array_equal(truth, clip.frames(range(6)))
    expected = np.stack(list(animate(model, clip.frame(0), clip_driving_signal(model, clip, 6), seed=3)))
    np.testing.assert_array_equal(generated, expected)
    assert generated.dtype == np.uint8 and generated.shape == truth.shape


def test_all_frames_are_reenacted_unless_fewer_are_asked_for(clip, model):
    assert len(clip_driving_signal(model, clip).keypoints) == len(true_frames(model, clip)) == len(clip)
    assert len(clip_driving_signal(model, clip, 3).keypoints) == len(true_frames(model, clip, 3)) == 3
    assert len(clip_driving_signal(model, clip, 10_000).keypoints) == len(true_frames(model, clip, 10_000)) == len(clip)


def test_the_seed_and_the_sampling_that_are_asked_for_are_used(clip, model):
    _, one = reenact(model, clip, seed=0, frames=2)
    _, other = reenact(model, clip, seed=1, frames=2)
    _, longer = reenact(model, clip, replace(model.config.sampling, steps=4), seed=0, frames=2)
    assert (one != other).any() and (one != longer).any()


def test_sharpness_is_measured_on_the_models_scale_not_the_stores(clip, model):
    scale = SharpnessScale(p5=0.0, p75=6.0, p95=9.0)
    signal = clip_driving_signal(replace(model, sharpness=scale), clip)
    np.testing.assert_array_equal(signal.sharpness, scale.normalise(clip.sharpness))


def test_sharpness_by_default_is_the_models_knob_for_all_hands(clip, model):
    signal = clip_driving_signal(model, clip, sharpness="default")
    assert set(signal.sharpness.ravel().tolist()) == {np.float32(default_sharpness(model))}
    assert isinstance(signal, DrivingSignal)


def test_a_model_of_ranks_gets_ranks_within_the_whole_clip(clip, model):
    ranked = replace(model, config=configuration("conditions.sharpness_scale=clip"), sharpness=None)
    np.testing.assert_array_equal(clip_driving_signal(ranked, clip, 3).sharpness, clip_ranks(clip.sharpness)[:3])


def test_a_model_without_percentiles_is_refused(clip, model):
    with pytest.raises(ValueError, match="no sharpness percentiles"):
        clip_driving_signal(replace(model, sharpness=None), clip)


def test_a_smaller_model_of_the_same_aspect_ratio_gets_smaller_frames_and_keypoints(clip, model):
    half = replace(model, config=configuration("width=32", "height=56", "stages.temporal_half.resolution_scale=1"))
    assert true_frames(half, clip, 2).shape == (2, 56, 32, 3)
    keypoints = clip_driving_signal(half, clip).keypoints
    whole = clip_driving_signal(model, clip).keypoints.keypoints
    np.testing.assert_allclose((keypoints.keypoints + 0.5) * 2, whole + 0.5, atol=1e-3)


def test_a_model_of_another_aspect_ratio_is_refused(clip, model):
    other = replace(model, config=configuration("width=64", "height=64"))
    with pytest.raises(ValueError, match=r"64×112 px, the model makes 64×64"):
        reenact(other, clip)


def test_at_least_one_frame_must_be_asked_for(clip, model):
    with pytest.raises(ValueError, match="frames must be at least 1, not 0"):
        reenact(model, clip, frames=0)


def test_the_pixel_codec_loses_nothing(clip, model):
    truth = true_frames(model, clip, 3)
    np.testing.assert_array_equal(reconstruct(model, truth), truth)
