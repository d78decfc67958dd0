"""Windows: exact length, complete cover, never wrapped."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.diffusion.windows import shifted_windows


@st.composite
def clips(draw):
    window = draw(st.integers(1, 24))
    return draw(st.integers(1, 200)), window, draw(st.integers(0, window - 1)), draw(st.integers(0, 60))


@given(clips())
def test_every_frame_is_covered(clip):
    frames = {frame for window in shifted_windows(*clip) for frame in window}
    assert frames.issuperset(range(clip[0])) and max(frames) < clip[0]


@given(clips())
def test_every_window_has_the_exact_length_and_lies_inside(clip):
    num_frames, window, _, _ = clip
    for frames in shifted_windows(*clip):
        assert len(frames) == min(window, num_frames)
        assert frames.start >= 0 and frames.stop <= num_frames and frames.step == 1


@given(clips())
def test_neighbours_overlap_at_least_as_asked_and_ascend(clip):
    windows = shifted_windows(*clip)
    for one, other in itertools.pairwise(windows):
        assert one.start < other.start
        assert one.stop - other.start >= clip[2]


def test_an_offset_moves_the_inner_boundaries_and_leaves_the_ends():
    assert shifted_windows(40, 16, 4, 0) == [range(0, 16), range(12, 28), range(24, 40)]
    assert shifted_windows(40, 16, 4, 5) == [range(0, 16), range(7, 23), range(19, 35), range(24, 40)]
    assert shifted_windows(40, 16, 4, 12) == shifted_windows(40, 16, 4, 0)


def test_a_short_clip_is_one_window():
    assert shifted_windows(5, 16, 4, 3) == [range(5)]


@pytest.mark.parametrize("arguments", [(0, 16, 4, 0), (10, 0, 0, 0), (10, 4, 4, 0), (10, 4, -1, 0)])
def test_impossible_windows_are_refused(arguments):
    with pytest.raises(ValueError, match=r"num_frames|overlap"):
        shifted_windows(*arguments)
