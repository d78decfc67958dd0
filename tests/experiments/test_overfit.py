"""The overfitting benchmark: its kept-out frames are not trained on, and its figures are right."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments.benchmarks.overfit import PRESETS, main, new_folder, shortcomings
from experiments.benchmarks.overfit_data import around_hands, kept_out, without_frames
from experiments.benchmarks.overfit_figures import Learned, hands_psnr, knob_figures, own_moment
from experiments.benchmarks.overfit_training import KNOB, at_frames
from hia.conditions.driving import driving_signal
from hia.config import Config, load_config
from hia.data.store.clip_store import ClipStore, open_store
from hia.evaluation.image import psnr
from hia.pose.keypoint_files import load_keypoints
from hia.video import read_frames
from tests.data.tiny_store import sample_clips, write_store

TINY = Path(__file__).parents[1] / "tiny.yaml"
CLIP, SHORT_CLIP = "juggle_man_park", "balance_man_lab"


@pytest.fixture(scope="module")
def whole(sample_data, tmp_path_factory) -> ClipStore:
    """One real clip of 60 small frames, with latents and made-up embeddings of every fifth face."""
    clips = [replace(one, split="train") for one in sample_clips(sample_data, names=[CLIP])]
    folder = tmp_path_factory.mktemp("overfit") / "whole"
    return open_store(write_store(folder, clips, latent_sizes=[(64, 112)], face_every=5))


@pytest.fixture(scope="module")
def training(whole, tmp_path_factory) -> ClipStore:
    """The same clip without the frames that are kept out of training."""
    return without_frames(whole, tmp_path_factory.mktemp("overfit") / "training")


@pytest.fixture(scope="module")
def moving() -> np.ndarray:
    """Ten frames of a square that moves over noise: no two are alike."""
    frames = np.random.default_rng(0).integers(90, 110, (1, 32, 64, 3), np.uint8).repeat(10, axis=0)
    for index, frame in enumerate(frames):
        frame[8:24, 5 * index : 5 * index + 16] = 255
    return frames


class TestWhatIsKeptOut:
    def test_it_is_every_tenth_frame_and_the_last_fifth(self) -> None:
        assert kept_out(50) == [9, 19, 29, 39, *range(40, 50)]

    def test_the_reference_never_is(self) -> None:
        assert all(0 not in kept_out(length) for length in range(1, 30))

    def test_the_training_store_has_all_other_frames_and_none_of_these(self, whole, training) -> None:
        before, after = (store.read(store.clips[0]) for store in (whole, training))
        left = [frame for frame in range(60) if frame not in kept_out(60)]
        assert len(after) == after.info.num_frames == len(left) == 44
        assert np.array_equal(after.frames(range(44)), before.frames(left))

    def test_what_belongs_to_a_frame_stays_with_it(self, whole, training) -> None:
        before, after = (load_file(store.read(store.clips[0]).path) for store in (whole, training))
        left = np.setdiff1d(np.arange(60), kept_out(60))
        by_frame = [name for name in before if len(before[name]) == 60]
        assert {"keypoints", "movement", "sharpness", "hand_boxes", "latents_64x112"} <= set(by_frame)
        assert before.keys() == after.keys()
        assert all(np.array_equal(after[name], before[name][left], equal_nan=True) for name in by_frame)

    def test_face_embeddings_stay_with_their_frames(self, whole, training) -> None:
        before, after = (store.read(store.clips[0]) for store in (whole, training))
        left = np.setdiff1d(np.arange(60), kept_out(60))
        frames = left[after.face_frames]
        assert set(frames) == set(before.face_frames) - set(kept_out(60))
        assert np.array_equal(after.face_embeddings[:, 0, 0], frames)  # made up: the first value tells the frame

    def test_percentiles_of_sharpness_are_those_of_the_frames_that_are_left(self, training) -> None:
        sharpness = training.read(training.clips[0]).sharpness
        known = np.log1p(sharpness[~np.isnan(sharpness)].astype(np.float64))
        assert training.sharpness_scale.p75 == pytest.approx(np.percentile(known, 75))


class TestCropAroundHands:
    @pytest.fixture(scope="class")
    def crop(self, sample_data, tmp_path_factory) -> Path:
        """The crop of a rendered video, which has exact keypoints."""
        rendered, folder = sample_data / "rendered", tmp_path_factory.mktemp("crop")
        return around_hands(rendered / "anny_a_sharp.mp4", rendered / "anny_a_gt.npz", self.config, folder)

    config: Config = load_config(TINY)

    def test_it_is_half_as_wide_in_the_aspect_ratio_of_the_model(self, crop) -> None:
        assert next(read_frames(crop)).shape == (448, 256, 3)

    def test_its_keypoints_point_at_the_same_pixels(self, crop, sample_data) -> None:
        rendered = sample_data / "rendered"
        before, after = load_keypoints(rendered / "anny_a_gt.npz"), load_keypoints(crop.with_suffix(".npz"))
        left, top = (before.keypoints - after.keypoints)[0, 0].astype(int)
        assert np.allclose(before.keypoints - after.keypoints, [left, top])
        original = next(read_frames(rendered / "anny_a_sharp.mp4"))[top : top + 448, left : left + 256]
        assert psnr(original[None], next(read_frames(crop))[None]) > 30

    def test_most_hands_are_in_it(self, crop) -> None:
        people = load_keypoints(crop.with_suffix(".npz"))
        hands = people.keypoints[:, 91:133][people.scores[:, 91:133] >= 0.3]
        assert ((hands >= 0) & (hands < [256, 448])).all(axis=1).mean() > 0.9

    def test_keypoints_of_another_video_are_refused(self, sample_data, tmp_path) -> None:
        with pytest.raises(ValueError, match=r"120 frames, .* has 96 frames"):
            around_hands(
                sample_data / "rendered" / "anny_a_sharp.mp4",
                sample_data / "keypoints" / "gesture_man_kitchen.npz",
                self.config,
                tmp_path,
            )


class TestFigures:
    seconds = np.arange(10) / 5

    def test_who_follows_the_keypoints_is_nearest_to_the_own_moment(self, moving) -> None:
        assert own_moment(moving, moving, self.seconds) == 1

    def test_who_repeats_the_reference_is_not(self, moving) -> None:
        assert own_moment(moving, np.broadcast_to(moving[0], moving.shape), self.seconds) <= 0.2

    def test_who_moves_backwards_is_not(self, moving) -> None:
        assert own_moment(moving, moving[::-1], self.seconds) <= 0.2

    def test_hands_are_compared_within_their_boxes_only(self, moving) -> None:
        boxes = np.full((10, 2, 4), -1, np.int32)
        boxes[:, 0] = [0, 0, 4, 4]
        outside = moving.copy()
        outside[:, 4:] = 0
        assert hands_psnr(moving, outside, boxes) == 100
        assert hands_psnr(moving, 255 - moving, boxes) < 30

    def test_without_hands_there_is_no_figure_of_hands(self, moving) -> None:
        assert hands_psnr(moving, moving, np.full((10, 2, 4), -1, np.int32)) is None

    def test_a_signal_at_some_frames_keeps_the_movement_of_the_video(self, sample_data) -> None:
        whole = driving_signal(load_keypoints(sample_data / "keypoints" / f"{CLIP}.npz"), 64, 112, 0.5)
        some = at_frames(whole, [3, 50])
        assert len(some.keypoints) == 2
        assert np.array_equal(some.movement, whole.movement[[3, 50]])
        assert np.array_equal(some.control_image(1), whole.control_image(50))


class TestKnob:
    rising = np.arange(1.0, 6.0)[:, None, None] * np.ones((5, 4, 2))
    speed = np.linspace(0, 1, 8).reshape(4, 2)

    def test_hands_that_get_sharper_with_the_knob_follow_it(self) -> None:
        knob = knob_figures(KNOB, self.rising, self.speed)
        assert (knob.correlation, knob.fast, knob.following, knob.hands) == pytest.approx((1, 1, 1, 8))
        assert knob.obtained == (1, 2, 3, 4, 5)

    def test_hands_that_get_blurred_go_against_it(self) -> None:
        assert knob_figures(KNOB, self.rising[::-1], self.speed).correlation == pytest.approx(-1)

    def test_hands_that_do_not_change_do_not_follow_it(self) -> None:
        knob = knob_figures(KNOB, np.ones((5, 4, 2)), self.speed)
        assert (knob.correlation, knob.following) == (0, 0)

    def test_the_faster_half_is_judged_by_itself(self) -> None:
        obtained = self.rising.copy()
        obtained[:, 2:] = obtained[::-1, 2:]  # the last two frames are the fastest
        knob = knob_figures(KNOB, obtained, self.speed)
        assert (knob.correlation, knob.fast) == pytest.approx((0, -1))

    def test_hands_that_are_not_seen_are_left_out(self) -> None:
        obtained = self.rising.copy()
        obtained[:, 0, 0] = np.nan
        assert knob_figures(KNOB, obtained, self.speed).hands == 7

    def test_no_hand_at_all_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no hand is seen"):
            knob_figures(KNOB, self.rising * np.nan, self.speed)


class TestProgram:
    figures = Learned("a.mp4", 9, 20.9, 18.0, 25.0, 15.0, 12.0, 0.9)

    def test_less_than_three_decibels_are_a_shortcoming(self) -> None:
        assert "2.90 dB above the reference repeated" in shortcomings([self.figures], None)[0]
        assert shortcomings([replace(self.figures, psnr=21.1)], None) == []

    def test_hands_that_do_not_follow_the_knob_are_a_shortcoming(self) -> None:
        against = knob_figures(KNOB, TestKnob.rising[::-1], TestKnob.speed)
        assert "do not follow the knob" in shortcomings([replace(self.figures, psnr=30)], against)[0]

    @pytest.mark.parametrize("name", PRESETS)
    def test_presets_train_all_stages(self, name) -> None:
        config = load_config(PRESETS[name])
        assert [stage.name for stage in config.stages.in_order()] == [
            "spatial",
            "regional",
            "temporal_half",
            "temporal_full",
        ]
        assert config.samples.flip_probability == 0

    def test_an_earlier_output_is_not_mixed_with_a_new_one(self, tmp_path) -> None:
        (tmp_path / "figures.json").write_text("{}")
        with pytest.raises(ValueError, match="not empty"):
            new_folder(str(tmp_path))

    @pytest.mark.slow
    def test_all_stages_are_trained_and_judged_and_untrained_hands_end_with_an_error(
        self, sample_data, tmp_path
    ) -> None:
        rendered, output = sample_data / "rendered", tmp_path / "output"
        pair = [rendered / "anny_a_sharp.mp4", rendered / "anny_a_blur.mp4", rendered / "anny_a_gt.npz"]
        few = [f"stages.{stage}.iterations=1" for stage in ("spatial", "regional", "temporal_half", "temporal_full")]
        settings = ["width=32", "height=56", "sampling.steps=1", *few]
        clip = tmp_path / "clips" / f"{SHORT_CLIP}.mp4"
        clip.parent.mkdir()
        clip.symlink_to(sample_data / "clips" / clip.name)
        (tmp_path / "keypoints").mkdir()
        (tmp_path / "keypoints" / f"{SHORT_CLIP}.npz").symlink_to(sample_data / "keypoints" / f"{SHORT_CLIP}.npz")
        options = [str(clip), "--pair", *map(str, pair), "--output", str(output), "--preset", str(TINY)]
        assert main([*options, *(part for setting in settings for part in ("--set", setting))]) == 1
        figures = json.loads((output / "figures.json").read_text())
        assert list(figures["stages"]) == ["regional", "spatial", "temporal_full"]
        assert all(math.isfinite(clips[0]["psnr"]) for clips in figures["stages"].values())
        assert figures["knob"]["hands"] > 20
        for name in (f"spatial/{SHORT_CLIP}.png", f"temporal_full/{SHORT_CLIP}.mp4", "pair/knob.png", "model/hia.json"):
            assert (output / name).is_file()
