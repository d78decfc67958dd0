"""One person through a clip: linking boxes, and choosing the main person."""

import numpy as np
import pytest

from hia.pose.box_tracks import NoPerson, box_area, boxes_of, choose_person, link_boxes, overlaps
from hia.pose.tracking import choose_from_people
from tests.pose.boxes import around, boxes
from tests.pose.tiny_onnx import figure

# ------------------------------------------------------------------------------------------------ linking


@pytest.mark.parametrize("seed", range(5))
def test_people_keep_their_tracks_whatever_the_order_of_the_boxes(seed):
    rng = np.random.default_rng(seed)
    starts = np.array([(100, 100), (300, 120), (520, 90), (300, 400)], float)
    paths = starts + np.cumsum(rng.uniform(-8, 8, (40, 4, 2)), axis=0)
    orders = [rng.permutation(4) for _ in paths]
    found = [boxes(*(around(*places[person]) for person in order)) for places, order in zip(paths, orders, strict=True)]
    tracks = link_boxes(found)
    assert len(tracks) == 4
    for track in tracks:
        people = {int(orders[frame][member]) for frame, member in zip(track.frames, track.members, strict=True)}
        assert len(people) == 1 and track.frames.tolist() == list(range(40))
        (person,) = people
        np.testing.assert_allclose(track.boxes[:, :2] + (30, 60), paths[:, person], atol=1e-3)


def test_a_track_survives_as_many_misses_as_the_patience_and_no_more():
    seen, missed = boxes(around(100, 100)), boxes()
    (track,) = link_boxes([seen, missed, missed, seen], patience=2)
    assert track.frames.tolist() == [0, 3]
    assert [track.frames.tolist() for track in link_boxes([seen, missed, missed, seen], patience=1)] == [[0], [3]]


def test_boxes_that_overlap_too_little_are_other_people():
    here, there = boxes(around(100, 100)), boxes(around(140, 100))
    assert overlaps(here, there)[0, 0] == pytest.approx(0.2)
    assert len(link_boxes([here, there], least_overlap=0.19)) == 1
    assert len(link_boxes([here, there], least_overlap=0.21)) == 2


def test_of_two_that_overlap_one_box_the_nearer_gets_it():
    first = boxes(around(100, 100), around(150, 100))
    tracks = link_boxes([first, boxes(around(130, 100))], least_overlap=0.1)
    assert [track.frames.tolist() for track in tracks] == [[0], [0, 1]]


def test_scores_behind_the_boxes_are_ignored():
    with_scores = np.concatenate([boxes(around(100, 100)), [[0.9]]], axis=1)
    (track,) = link_boxes([with_scores, with_scores])
    assert track.boxes.shape == (2, 4) and track.boxes.dtype == np.float32


# ------------------------------------------------------------------------------------------------ choosing


def test_the_main_person_has_the_largest_sum_of_areas_not_the_largest_box():
    brief, steady = around(60, 100, 50, 100), around(300, 100, 40, 80)
    found = [boxes(brief, steady)] * 3 + [boxes(steady)] * 7
    people = choose_person(link_boxes(found), 10)
    assert len(people.main.frames) == 10 and len(people.others) == 1
    assert box_area(people.main.boxes[0]) < box_area(people.others[0].boxes[0])


def test_frames_that_the_detector_missed_between_two_boxes_count_as_well():
    large, small = around(60, 100, 50, 100), around(300, 100, 40, 80)
    found = [boxes(large, small), *[boxes(small)] * 8, boxes(large, small)]
    assert choose_person(link_boxes(found), 10).main.frames.tolist() == [0, 9]


def test_pieces_of_one_person_are_joined_before_the_choice():
    lost, back, steady = around(60, 100, 40, 80), around(100, 110, 42, 82), around(400, 100, 40, 50)
    found = [boxes(lost, steady)] * 5 + [boxes(steady)] * 3 + [boxes(back, steady)] * 5
    people = choose_person(link_boxes(found, patience=1), 13)
    assert people.main.frames.tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert [track.frames.tolist() for track in people.others] == [list(range(13))]


def test_a_piece_joins_the_nearest_of_those_who_were_lost_before():
    far, near = around(60, 100), around(170, 100)
    found = [boxes(far, near)] * 5 + [boxes()] * 3 + [boxes(around(135, 100))] * 5
    assert choose_person(link_boxes(found, patience=0), 13).main.boxes[0, 0] == near[0]


@pytest.mark.parametrize(
    "other", [around(300, 100), around(100, 100, 60, 115), around(100, 100, 16, 30)], ids=["far", "large", "small"]
)
def test_pieces_at_another_place_or_of_another_size_are_other_people(other):
    found = [boxes(around(100, 100))] * 5 + [boxes()] * 3 + [boxes(other)] * 5
    assert len(choose_person(link_boxes(found, patience=0, least_overlap=0.5), 13).others) == 1


def test_people_who_are_there_at_the_same_time_are_never_joined():
    found = [boxes(around(100, 100), around(130, 100))] * 4
    people = choose_person(link_boxes(found), 4)
    assert len(people.main.frames) == 4 and len(people.others) == 1


def test_without_anybody_there_is_no_main_person():
    with pytest.raises(NoPerson, match="nobody was found in 7 frames"):
        choose_person(link_boxes([boxes()] * 7), 7)


def test_tracks_beyond_the_clip_are_refused():
    with pytest.raises(ValueError, match="reaches frame 3 of a clip of 3 frames"):
        choose_person(link_boxes([boxes(around(50, 50))] * 4), 3)


def test_a_box_holds_the_keypoints_that_are_seen_and_nothing_else():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 100, (3, 133, 2)).astype(np.float32)
    scores = rng.choice([0.29, 0.3], (3, 133)).astype(np.float32)
    scores[2] = 0
    scores[2, :5] = 1
    found = boxes_of(keypoints, scores)
    for frame in range(2):
        seen = keypoints[frame][scores[frame] >= np.float32(0.3)]
        np.testing.assert_array_equal(found[frame], [*seen.min(axis=0), *seen.max(axis=0)])
    assert np.isnan(found[2]).all()
    assert boxes_of(np.zeros((0, 133, 2)), np.zeros((0, 133))).shape == (0, 4)


# ---------------------------------------------------------------------------------- people of a keypoint file


def person(x: float, y: float, size: float) -> tuple[np.ndarray, np.ndarray]:
    keypoints = figure() * (size / 2, size) + (x, y)
    return keypoints.astype(np.float32), np.full(133, 0.9, np.float32)


def together(*people: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    keypoints, scores = [one[0] for one in people], [one[1] for one in people]
    return np.reshape(keypoints, (-1, 133, 2)), np.reshape(scores, (-1, 133))


def test_the_main_person_is_picked_from_every_frame_of_a_keypoint_file():
    rng = np.random.default_rng(3)
    frames, wanted = [], []
    for index in range(30):
        main, other = person(100 + 3 * index, 200, 80), person(420 - 3 * index, 210, 50)
        wanted.append(main[0])
        frames.append(together(*(main, other) if rng.random() < 0.5 else (other, main)))
    track = choose_from_people(frames)
    np.testing.assert_array_equal(track.keypoints, wanted)
    np.testing.assert_allclose(track.others, (50 / 80) ** 2, rtol=1e-4)
    assert (track.scores == np.float32(0.9)).all() and track.present.all()


def test_where_a_keypoint_file_lacks_the_person_scores_are_0_and_boxes_nan():
    nobody = together()
    unseen = (person(100, 200, 80)[0], np.full(133, 0.1, np.float32))
    track = choose_from_people(
        [nobody, together(person(100, 200, 80)), together(unseen), together(person(103, 200, 80))]
    )
    assert track.present.tolist() == [False, True, False, True]
    assert (
        (track.scores[[0, 2]] == 0).all() and np.isnan(track.others[[0, 2]]).all() and (track.others[[1, 3]] == 0).all()
    )


def test_a_keypoint_file_without_anybody_has_no_main_person():
    with pytest.raises(NoPerson):
        choose_from_people([together()] * 5)
