"""Cuts are found at their frame, and only cuts; clips of bounded length cover every frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.data.preprocess.shots import ShotDetector, divide_shots
from hia.images import fit_to_size
from hia.video import read_frames
from tests.conftest import present


def clip(sample_data, name, width=256, height=384):
    return [fit_to_size(frame, width, height) for frame in read_frames(sample_data / "clips" / f"{name}.mp4")]


@pytest.fixture(scope="module")
def park(sample_data):
    return clip(sample_data, *present(sample_data, "walk_woman_park", "gesture_woman_bench")[:1])


@pytest.fixture(scope="module")
def kitchen(sample_data):
    return clip(sample_data, "gesture_man_kitchen")


@pytest.fixture(scope="module")
def home(sample_data):
    return clip(sample_data, "sign_woman_home")


def cuts(frames, **options):
    detector = ShotDetector(**options)
    for frame in frames:
        detector.add(frame)
    return detector.cuts()


def test_the_cut_between_two_real_clips_is_at_the_second_ones_first_frame(park, kitchen, home):
    assert cuts([*park, *kitchen]) == [len(park)]
    assert cuts([*kitchen[:40], *home[:30], *park[:20]]) == [40, 70]


def test_cuts_right_after_each_other_are_all_found(park, kitchen, home):
    assert cuts([*park[:10], *kitchen[:3], *home[:3], *park[:10]]) == [10, 13, 16]


def test_a_cut_is_found_at_every_place_of_the_video(park, kitchen):
    assert [cuts([*park[:n], *kitchen[: 8 - n]]) for n in range(1, 8)] == [[n] for n in range(1, 8)]


def test_fast_motion_is_no_cut(sample_data):
    """Neither in any of the real clips nor in rendered dancers with moving hands and arms."""
    for path in (*sample_data.glob("clips/*.mp4"), *sample_data.glob("rendered/*.mp4")):
        assert cuts(read_frames(path)) == [], path.name


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_flash_is_no_cut(park, length, colour):
    frames = list(park[:20])
    frames[9 : 9 + length] = [np.full_like(park[0], colour)] * length
    assert cuts(frames) == []
    assert cuts(frames, flash=0) == [9, 9 + length]


def test_a_flash_right_before_a_cut_leaves_the_cut(park, kitchen):
    frames = [*park[:10], np.full_like(park[0], 255), *park[10:12], *kitchen[:10]]
    assert cuts(frames) == [13]


def test_what_stays_longer_than_a_flash_is_a_shot(park):
    frames = [*park[:10], *[np.full_like(park[0], 255)] * 3, *park[10:20]]
    assert cuts(frames) == [10, 13]


def test_the_threshold_decides(park, kitchen):
    assert cuts([*park[:10], *kitchen[:10]], threshold=200) == []
    with pytest.raises(ValueError, match="threshold"):
        ShotDetector(threshold=0)


def test_tiny_pictures_and_no_pictures_are_allowed():
    assert cuts([]) == []
    assert cuts([np.zeros((1, 3, 3), np.uint8)] * 4 + [np.full((1, 3, 3), 255, np.uint8)] * 4) == [4]


@given(st.data())
def test_clips_cover_every_frame_once_and_never_cross_a_cut(data):
    num_frames = data.draw(st.integers(1, 300))
    places = sorted(data.draw(st.sets(st.integers(1, max(num_frames - 1, 1)), max_size=5)) - {num_frames})
    longest = data.draw(st.integers(1, 60))
    clips = divide_shots(num_frames, places, longest, data.draw(st.integers(1, longest)))
    assert [frame for frames in clips for frame in frames] == list(range(num_frames))
    assert set(places) <= {frames.start for frames in clips}
    assert all(1 <= len(frames) <= longest for frames in clips)
    for begin, end in zip([0, *places], [*places, num_frames], strict=True):
        lengths = [len(frames) for frames in clips if begin <= frames.start < end]
        assert max(lengths) - min(lengths) <= 1 and len(lengths) == -(-(end - begin) // longest)


def test_a_shot_is_divided_as_evenly_as_its_frames_allow():
    assert [len(frames) for frames in divide_shots(100, [], longest=30, least=5)] == [25, 25, 25, 25]
    assert [len(frames) for frames in divide_shots(64, [3], longest=40, least=5)] == [3, 30, 31]


def test_cuts_that_fall_together_after_resampling_are_one():
    assert divide_shots(10, [4, 4, 10], longest=10, least=1) == [range(4), range(4, 10)]


@pytest.mark.parametrize("places", [[11], [-1, 5]])
def test_cuts_outside_the_video_are_refused(places):
    with pytest.raises(ValueError, match=r"cuts must lie in 0\.\.10"):
        divide_shots(10, places, longest=5, least=1)


def test_impossible_lengths_are_refused():
    with pytest.raises(ValueError, match="not 6 and 5 frames"):
        divide_shots(10, [], longest=5, least=6)
