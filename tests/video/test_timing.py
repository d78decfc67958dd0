"""Rates of videos from their frames' times, and resampling to a constant one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.video import nominal_rate, resample
from hia.video.timing import Clock


def clock_times(stamps, interval=0.04):
    clock = Clock(interval)
    return [clock.time(stamp) for stamp in stamps]


def test_missing_stamps_are_filled_by_the_interval():
    assert clock_times([None, None, 5.08, 5.12, None, 5.2]) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])


def test_stamps_that_start_anew_continue_the_count():
    assert clock_times([9.0, 9.04, 9.08, 0.0, 0.04]) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_jitter_neither_stops_nor_shifts_the_time():
    times = clock_times([0, 0.04, 0.04, 0.03, 0.12, 0.16])
    assert (np.diff(times) > 0).all()
    assert times == pytest.approx([0, 0.04, 0.04, 0.04, 0.12, 0.16], abs=1e-3)


@given(st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4)), min_size=1, max_size=40))
def test_times_rise_whatever_the_stamps(stamps):
    times = clock_times(stamps)
    assert times[0] == 0 and (np.diff(times) > 0).all()


@pytest.mark.parametrize("fps", [5, 23.976, 25, 30, 59.94, 120])
def test_the_rate_is_found_from_times_in_whole_milliseconds(fps):
    times = np.round(np.arange(200) / fps, 3)
    assert nominal_rate(times) == pytest.approx(fps, rel=2e-3)


def test_pauses_and_lost_frames_do_not_change_the_rate():
    times = np.arange(100) / 30
    times[50:] += 7.0
    kept = np.random.default_rng(0).random(100) > 0.1
    assert nominal_rate(times[kept]) == pytest.approx(30, rel=1e-3)


def test_one_frame_has_no_rate():
    with pytest.raises(ValueError, match="at least two frames"):
        nominal_rate(np.zeros(3))


@pytest.mark.parametrize("fps", [12, 23.976, 25, 29.97, 30, 60])
def test_a_constant_rate_video_keeps_its_frames_at_its_own_rate(fps):
    """Also when its times are rounded, as Matroska does."""
    times = np.arange(500) / fps
    assert np.array_equal(resample(times, fps), np.arange(500))
    rounded = np.round(times, 3)
    assert np.array_equal(resample(rounded, nominal_rate(rounded)), np.arange(500))


def test_half_the_rate_is_every_second_frame_and_double_repeats_the_earlier():
    times = np.arange(7) / 60
    assert resample(times, 30).tolist() == [0, 2, 4, 6]
    assert resample(times[:4], 120).tolist() == [0, 0, 1, 1, 2, 2, 3]


@given(
    st.lists(st.floats(0.001, 0.5), max_size=30),
    st.floats(1, 120),
    st.floats(-100, 100),
)
def test_every_grid_time_shows_the_nearest_frame(intervals, fps, start):
    times = start + np.cumsum([0.0, *intervals])
    indices = resample(times, fps)
    grid = times[0] + np.arange(len(indices)) / fps
    nearest = np.abs(times[None] - grid[:, None]).min(axis=1)
    assert np.abs(times[indices] - grid) == pytest.approx(nearest, abs=2e-6)
    assert grid[-1] <= times[-1] + 1e-5 < grid[-1] + 1 / fps + 2e-5
    assert (np.diff(indices) >= 0).all() and indices[0] == 0


@pytest.mark.parametrize(
    ("times", "fps", "message"),
    [
        ([], 30, "at least one"),
        ([1, 0], 30, "do not fall"),
        ([0, np.nan], 30, "at least one"),
        ([0, 1], 0, "not 0"),
        ([0, 1], np.inf, "not inf"),
    ],
)
def test_what_cannot_be_resampled_is_refused(times, fps, message):
    with pytest.raises(ValueError, match=message):
        resample(np.array(times, float), fps)
