"""Clip filters: each limit of the settings at its border, and the keypoints of accepted clips."""

import re

import numpy as np
import pytest

from hia.config import PreprocessConfig
from hia.data.preprocess.filters import LEAST_POINTS, check_regions, least_clip_frames, plan_clip, seen_shares
from hia.data.store.records import Rejected
from hia.pose.box_tracks import boxes_of
from hia.pose.keypoints import fill_short_gaps
from hia.pose.tracking import PersonTrack
from tests.data.raw_videos import HALF, people_at

SOURCE, TARGET = (96, 128), (96, 128)
SETTINGS = PreprocessConfig(least_seconds=0.1)


def track(num_frames=40, half=HALF, size=SOURCE, others=0.0):
    """The track of a person who does not move. others: relative area of the largest other person."""
    people = people_at(np.tile(np.array(size) / 2, (num_frames, 1)), *size, half=half)
    boxes = boxes_of(people.keypoints, people.scores)
    everywhere = np.broadcast_to(np.float32(others), (num_frames,)).copy()
    return PersonTrack(people.keypoints.copy(), people.scores.copy(), boxes, everywhere)


def plan(person, settings=SETTINGS, fps=30.0, source=SOURCE, target=TARGET):
    return plan_clip(person, fps, source, target, settings)


def reason(person, **arguments):
    """The reason of the rejection; None when the clip is accepted."""
    try:
        plan(person, **arguments)
    except Rejected as error:
        assert not error.transient
        return error.reason
    return None


def lost(person, frames, points=slice(None)):
    person.scores[frames, points] = 0
    return person


@pytest.mark.parametrize(("fps", "least"), [(30.0, 45), (25.0, 38), (29.97, 45), (1.0, 2)])
def test_a_clip_has_at_least_the_seconds_asked_for(fps, least):
    settings = PreprocessConfig(least_seconds=1.5)
    assert least_clip_frames(fps, settings) == least
    assert reason(track(least), settings=settings, fps=fps) is None
    if least > 2:
        assert reason(track(least - 1), settings=settings, fps=fps) == "too_short"


def test_one_frame_is_no_clip_however_little_is_asked_for():
    assert reason(track(1), settings=PreprocessConfig(least_seconds=0.01)) == "too_short"


def test_the_person_is_in_the_share_of_frames_asked_for():
    assert reason(lost(track(), slice(0, 4))) is None
    assert reason(lost(track(), slice(0, 5))) == "person_missing"
    assert reason(lost(track(), slice(None))) == "nobody"


def test_a_person_is_there_with_five_points():
    assert LEAST_POINTS == 5
    near = PreprocessConfig(least_seconds=0.1, largest_upscale=99)
    assert reason(lost(track(), slice(None), slice(5, 133)), settings=near) is None
    assert reason(lost(track(), slice(None), slice(4, 133)), settings=near) == "nobody"
    faint = track()
    faint.scores[:] = 0.29
    assert reason(faint) == "nobody"


def test_others_may_be_small_or_pass_by():
    assert reason(track(others=0.25)) is None
    assert reason(track(others=0.26)) == "several_people"
    passing = track()
    passing.others[:4] = 1
    assert reason(passing) is None
    passing.others[:5] = 1
    assert reason(passing) == "several_people"
    gone = track()
    gone.others[:4] = np.nan
    assert reason(lost(gone, slice(0, 4))) is None


def test_hands_and_face_are_seen_in_the_shares_asked_for():
    hands, face = np.full((10, 2, 4), -1, np.int32), np.full((10, 4), -1, np.int32)
    hands[:2, 0], hands[1:3, 1], face[:5] = 0, 0, 0
    assert seen_shares(hands, face) == (0.3, 0.5)
    check_regions(hands, face, PreprocessConfig(hands_seen=0.3, face_seen=0.5))
    with pytest.raises(Rejected, match="seen in 30% of the frames, at least 31% are needed") as error:
        check_regions(hands, face, PreprocessConfig(hands_seen=0.31))
    assert error.value.reason == "hands_not_seen"
    with pytest.raises(Rejected) as error:
        check_regions(hands, face, PreprocessConfig(hands_seen=0, face_seen=0.51))
    assert error.value.reason == "face_not_seen"


def test_a_box_at_the_frames_corner_counts_as_seen():
    corner = np.zeros((1, 2, 4), np.int32)
    assert seen_shares(corner, corner[:, 0]) == (1, 1)


@pytest.mark.parametrize("key", ["largest_upscale", "most_padding"])
def test_small_people_and_much_padding_are_refused_from_just_above_the_limit(key):
    small = {"half": (4, 16)} if key == "largest_upscale" else {"half": (150, 28), "size": (320, 64)}
    free = PreprocessConfig(least_seconds=0.1, largest_upscale=99, most_padding=0.99)
    source = small.get("size", SOURCE)
    crop = plan(track(**small), settings=free, source=source).crop
    found = crop.upscale if key == "largest_upscale" else crop.padding
    assert found > (2 if key == "largest_upscale" else 0.5)

    def outcome(limit):
        limits = {"least_seconds": 0.1, "largest_upscale": 99, "most_padding": 0.99} | {key: limit}
        return reason(track(**small), settings=PreprocessConfig(**limits), source=source)

    assert outcome(found) is None
    assert outcome(found * 0.999) == {"largest_upscale": "too_small", "most_padding": "too_much_padding"}[key]


def test_gaps_as_long_as_allowed_are_filled_and_marked_and_longer_ones_are_not():
    settings = PreprocessConfig(least_seconds=0.1, longest_gap_seconds=0.2)
    person = lost(track(), slice(10, 16), 9)
    lost(person, slice(20, 27), 10)
    lost(person, slice(0, 3), 11)
    person.keypoints[16:, 9] += 7
    person.keypoints[10:16, 9] = 0
    made = plan(person, settings)
    expected = np.zeros((40, 133), bool)
    expected[10:16, 9] = True
    np.testing.assert_array_equal(made.filled, expected)
    between = person.keypoints[9, 9] + np.arange(1, 7)[:, None]
    np.testing.assert_allclose(made.keypoints.keypoints[10:16, 9], made.crop.move(between), atol=1e-3)
    assert (made.keypoints.scores[10:16, 9] == 1).all() and (made.keypoints.scores[20:27, 10] == 0).all()


def test_keypoints_are_in_the_clips_pixels():
    made = plan(track(), source=SOURCE, target=(48, 64))
    assert (made.keypoints.width, made.keypoints.height, made.keypoints.fps) == (48, 64, 30)
    np.testing.assert_array_equal(made.keypoints.keypoints, made.crop.move(track().keypoints))


def test_nobody_inside_the_frame_is_nobody():
    person = track()
    person.keypoints[:] += 1000
    assert reason(person) == "nobody"


def test_the_messages_tell_what_was_found():
    with pytest.raises(Rejected, match=re.escape("the person is seen in 50% of the frames, at least 90% are needed")):
        plan(lost(track(), slice(0, 20)))
    with pytest.raises(Rejected, match=r"in 100% of the frames there is another person, of up to 60%"):
        plan(track(others=0.6))


def test_short_gaps_are_filled_as_in_driving_motions_and_longer_ones_stay():
    person = lost(lost(track(), slice(4, 8), slice(91, 112)), slice(20, 26), slice(112, 133))
    person.keypoints[8:, 91:112] += 5
    keypoints, scores, filled = fill_short_gaps(person.keypoints, person.scores, 25.0)
    made = plan(person, fps=25.0)
    np.testing.assert_array_equal(made.filled, filled)
    np.testing.assert_array_equal(made.keypoints.scores, scores)
    np.testing.assert_array_equal(made.keypoints.keypoints, made.crop.move(keypoints).astype(np.float32))
    assert filled.sum() == 4 * 21 and (made.keypoints.scores[20:26, 112:] == 0).all()
    assert not plan(person, PreprocessConfig(least_seconds=0.1, longest_gap_seconds=0), fps=25.0).filled.any()
