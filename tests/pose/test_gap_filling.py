"""Filling short gaps in keypoints."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.config import PreprocessConfig
from hia.pose.keypoints import NUM_KEYPOINTS, KeypointSequence, fill_gaps, fill_short_gaps


def one_point(scores: list[float], places: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """A single keypoint that moves along x."""
    keypoints = np.stack([np.array(places), np.zeros(len(places))], axis=1)[:, None]
    return keypoints.astype(np.float32), np.array(scores, np.float32)[:, None]


def plain_loop(keypoints: np.ndarray, scores: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The definition, point by point and gap by gap."""
    points, values, filled = keypoints.astype(np.float64), scores.copy(), np.zeros(scores.shape, bool)
    for point in range(scores.shape[1]):
        seen = [frame for frame in range(len(scores)) if scores[frame, point] >= 0.3]
        for start, end in pairwise(seen):
            if not 1 <= end - start - 1 <= longest:
                continue
            for frame in range(start + 1, end):
                share = (frame - start) / (end - start)
                points[frame, point] += -points[frame, point] + (1 - share) * keypoints[start, point]
                points[frame, point] += share * keypoints[end, point]
                values[frame, point] = min(scores[start, point], scores[end, point])
                filled[frame, point] = True
    return points, values, filled


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_gaps_are_filled_as_a_plain_loop_over_points_and_gaps_fills_them(num_frames, longest, density, seed):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-50, 900, (num_frames, 5, 2)).astype(np.float32)
    scores = np.where(rng.random((num_frames, 5)) < density, rng.uniform(0.3, 1, (num_frames, 5)), 0.29)
    scores = scores.astype(np.float32)
    expected = plain_loop(keypoints, scores, longest)
    for got, wanted in zip(fill_gaps(keypoints, scores, longest), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_a_gap_becomes_a_straight_line_with_the_smaller_of_the_two_scores():
    keypoints, scores = one_point([0.9, 0.0, 0.1, 0.2, 0.5], [10, 777, 777, 777, 50])
    keypoints, scores, filled = fill_gaps(keypoints, scores, 3)
    np.testing.assert_allclose(keypoints[:, 0, 0], [10, 20, 30, 40, 50])
    np.testing.assert_allclose(scores[:, 0], [0.9, 0.5, 0.5, 0.5, 0.5])
    assert filled[:, 0].tolist() == [False, True, True, True, False]


def test_a_gap_of_one_frame_more_than_allowed_stays():
    keypoints, scores = one_point([0.9, 0.0, 0.0, 0.9], [0, 7, 7, 30])
    assert fill_gaps(keypoints, scores, 2)[2].sum() == 2
    kept, kept_scores, filled = fill_gaps(keypoints, scores, 1)
    assert not filled.any() and (kept == keypoints).all() and (kept_scores == scores).all()


def test_gaps_at_the_start_and_the_end_stay():
    keypoints, scores = one_point([0.0, 0.9, 0.9, 0.0], [1, 2, 3, 4])
    assert not fill_gaps(keypoints, scores, 100)[2].any()


def test_the_inputs_stay_and_the_types_are_theirs():
    keypoints, scores = one_point([0.9, 0.0, 0.9], [0, 5, 20])
    before = keypoints.copy(), scores.copy()
    filled_keypoints, filled_scores, _ = fill_gaps(keypoints, scores, 5)
    assert (keypoints == before[0]).all() and (scores == before[1]).all()
    assert filled_keypoints.dtype == filled_scores.dtype == np.float32


def test_wrong_layouts_and_negative_lengths_are_refused():
    keypoints, scores = one_point([0.9], [0])
    with pytest.raises(ValueError, match="0 frames or more, not -1"):
        fill_gaps(keypoints, scores, -1)
    with pytest.raises(ValueError, match=r"\[1, 1, 2\] and \[2, 1\]"):
        fill_gaps(keypoints, np.zeros((2, 1)), 3)


@pytest.mark.parametrize(("fps", "longest"), [(10.0, 2), (25.0, 5), (30.0, 6), (1.0, 0)])
def test_the_longest_gap_in_seconds_is_preprocessings_at_any_rate(fps, longest):
    assert PreprocessConfig().longest_gap_seconds == 0.2
    scores = [0.9, *[0.0] * longest, 0.9, *[0.0] * (longest + 1), 0.9]
    keypoints, values = one_point(scores, list(range(len(scores))))
    for result in (fill_short_gaps(keypoints, values, fps), fill_short_gaps(keypoints, values, fps, 0.2)):
        for got, wanted in zip(result, fill_gaps(keypoints, values, longest), strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert fill_short_gaps(keypoints, values, fps)[2].sum() == longest


def test_a_sequence_keeps_its_size_and_rate_and_is_filled_once():
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((40, NUM_KEYPOINTS)) < 0.6, 0.9, 0.0)
    sequence = KeypointSequence(rng.uniform(0, 90, (40, NUM_KEYPOINTS, 2)), scores, 96, 128, 20.0)
    filled = sequence.with_gaps_filled(0.15)
    keypoints, values, _ = fill_gaps(sequence.keypoints, sequence.scores, 3)
    np.testing.assert_array_equal(filled.keypoints, keypoints)
    np.testing.assert_array_equal(filled.scores, values)
    assert (filled.width, filled.height, filled.fps) == (96, 128, 20.0)
    again = filled.with_gaps_filled(0.15)
    assert (again.keypoints == filled.keypoints).all() and (again.scores == filled.scores).all()
