"""The survey of a video: its constant rate, its shots, and the segments that may become clips."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.config import PreprocessConfig
from hia.data.preprocess.shots import kept_rate, survey_video, without_pauses
from hia.data.store.records import Rejected
from hia.video import write_video
from tests.data.raw_videos import background, centres, frames_of


def video(path, num_frames=40, fps=30.0):
    write_video(path, frames_of(centres(num_frames), background()), fps)
    return path


@settings(deadline=None)
@given(st.floats(1, 400), st.floats(10, 120))
def test_rates_are_divided_by_the_smallest_whole_number_that_makes_them_low_enough(rate, highest):
    kept = kept_rate(rate, highest)
    divisor = round(rate / kept)
    assert kept == pytest.approx(rate / divisor) and kept <= highest * 1.1 + 1e-9
    assert divisor == 1 or rate / (divisor - 1) > highest


@pytest.mark.parametrize(
    ("rate", "kept"), [(24, 24), (29.97, 29.97), (30.02, 30.02), (50, 25), (59.94, 29.97), (60, 30), (120, 30)]
)
def test_usual_rates(rate, kept):
    assert kept_rate(rate, 30) == pytest.approx(kept)


def test_a_survey_tells_size_rate_and_frames(tmp_path):
    found = survey_video(video(tmp_path / "fast.mp4", 101, 50), PreprocessConfig())
    assert (found.width, found.height, found.num_frames) == (96, 128, 101)
    assert (found.rate, found.fps) == (pytest.approx(50), pytest.approx(25))
    assert found.indices.tolist() == list(range(0, 101, 2)) and found.segments == (range(0, 51),)
    assert found.seconds == pytest.approx(51 / 25)


def test_the_rate_that_is_asked_for_is_the_clips(tmp_path):
    found = survey_video(video(tmp_path / "a.mp4"), PreprocessConfig(fps=15))
    assert found.fps == 15 and found.indices.tolist() == list(range(0, 40, 2))


def test_videos_that_are_too_slow_or_one_frame_are_rejected(tmp_path):
    path = video(tmp_path / "slow.mp4", fps=12)
    assert survey_video(path, PreprocessConfig(lowest_fps=11.9)).fps == pytest.approx(12)
    with pytest.raises(Rejected, match=r"12 frames per second, at least 12\.1 are needed"):
        survey_video(path, PreprocessConfig(lowest_fps=12.1))
    with pytest.raises(Rejected, match="only one frame"):
        survey_video(video(tmp_path / "one.mp4", 1), PreprocessConfig())


@pytest.mark.parametrize("seconds", [0.35, 0.5, 1.0])
def test_shortest_and_longest_clip_may_be_the_same(tmp_path, seconds):
    """At 29.97 frames per second neither is a whole number of frames."""
    path = video(tmp_path / "a.mp4", 60, 29.97)
    found = survey_video(path, PreprocessConfig(least_seconds=seconds, longest_seconds=seconds))
    assert max(map(len, found.segments)) <= math.ceil(seconds * found.fps)
    assert sum(map(len, found.segments)) == 60


def test_a_shot_is_divided_only_when_it_is_longer_than_the_longest_clip(tmp_path):
    path = video(tmp_path / "a.mp4", 69)
    whole = survey_video(path, PreprocessConfig(longest_seconds=2.3))
    assert whole.segments == (range(0, 69),)
    halves = survey_video(path, PreprocessConfig(longest_seconds=2.2))
    assert halves.segments == (range(0, 34), range(34, 69))


def test_times_without_pauses_stay_exactly_as_they_are():
    times = np.cumsum(np.random.default_rng(0).uniform(0, 1, 50))
    kept, pauses = without_pauses(times, 25)
    np.testing.assert_array_equal(kept, times)
    assert pauses == []


def test_pauses_of_more_than_a_second_are_left_out():
    kept, pauses = without_pauses(np.array([0, 0.04, 0.08, 1.08, 5.0, 5.04, 9000, 9000.04]), 25)
    np.testing.assert_allclose(kept, [0, 0.04, 0.08, 1.08, 1.12, 1.16, 1.20, 1.24], atol=1e-9)
    assert pauses == [4, 6]


def test_a_slow_videos_frames_are_no_pauses():
    times = np.arange(10) * 2.0
    np.testing.assert_array_equal(without_pauses(times, 0.5)[0], times)
