"""One person through a clip: linking boxes, choosing the main person, and following through a stream of frames."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import pytest

from hia.pose.estimators import PoseEstimator, PoseModels
from hia.pose.keypoints import BODY
from hia.pose.sidecar import load_keypoints
from hia.pose.tracking import (
    NoPerson,
    PersonTrack,
    box_area,
    boxes_of,
    choose_from_people,
    choose_person,
    follow_person,
    link,
)
from hia.pose.tracks import overlaps
from hia.video import read_frames
from tests.pose.tiny_onnx import OTHER, PERSON, draw_person, figure, write_detector, write_pose

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 240, 320
# Seen by the pose model only: the detector overlooks who wears it.
HIDDEN = (240, 200, 20)


def around(x: float, y: float, half_width: float = 30, half_height: float = 60) -> Box:
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def boxes(*some: Box) -> np.ndarray:
    return np.array(some, np.float32).reshape(-1, 4)


# ------------------------------------------------------------------------------------------------ linking


@pytest.mark.parametrize("seed", range(5))
def test_people_keep_their_tracks_whatever_the_order_of_the_boxes(seed):
    rng = np.random.default_rng(seed)
    starts = np.array([(100, 100), (300, 120), (520, 90), (300, 400)], float)
    paths = starts + np.cumsum(rng.uniform(-8, 8, (40, 4, 2)), axis=0)
    orders = [rng.permutation(4) for _ in paths]
    found = [boxes(*(around(*places[person]) for person in order)) for places, order in zip(paths, orders, strict=True)]
    tracks = link(found)
    assert len(tracks) == 4
    for track in tracks:
        people = {int(orders[frame][member]) for frame, member in zip(track.frames, track.members, strict=True)}
        assert len(people) == 1 and track.frames.tolist() == list(range(40))
        (person,) = people
        np.testing.assert_allclose(track.boxes[:, :2] + (30, 60), paths[:, person], atol=1e-3)


def test_a_track_survives_as_many_misses_as_the_patience_and_no_more():
    seen, missed = boxes(around(100, 100)), boxes()
    (track,) = link([seen, missed, missed, seen], patience=2)
    assert track.frames.tolist() == [0, 3]
    assert [track.frames.tolist() for track in link([seen, missed, missed, seen], patience=1)] == [[0], [3]]


def test_boxes_that_overlap_too_little_are_other_people():
    here, there = boxes(around(100, 100)), boxes(around(140, 100))
    assert overlaps(here, there)[0, 0] == pytest.approx(0.2)
    assert len(link([here, there], least_overlap=0.19)) == 1
    assert len(link([here, there], least_overlap=0.21)) == 2


def test_of_two_that_overlap_one_box_the_nearer_gets_it():
    first = boxes(around(100, 100), around(150, 100))
    tracks = link([first, boxes(around(130, 100))], least_overlap=0.1)
    assert [track.frames.tolist() for track in tracks] == [[0], [0, 1]]


def test_scores_behind_the_boxes_are_ignored():
    with_scores = np.concatenate([boxes(around(100, 100)), [[0.9]]], axis=1)
    (track,) = link([with_scores, with_scores])
    assert track.boxes.shape == (2, 4) and track.boxes.dtype == np.float32


# ------------------------------------------------------------------------------------------------ choosing


def test_the_main_person_has_the_largest_sum_of_areas_not_the_largest_box():
    brief, steady = around(60, 100, 50, 100), around(300, 100, 40, 80)
    found = [boxes(brief, steady)] * 3 + [boxes(steady)] * 7
    people = choose_person(link(found), 10)
    assert len(people.main.frames) == 10 and len(people.others) == 1
    assert box_area(people.main.boxes[0]) < box_area(people.others[0].boxes[0])


def test_frames_that_the_detector_missed_between_two_boxes_count_as_well():
    large, small = around(60, 100, 50, 100), around(300, 100, 40, 80)
    found = [boxes(large, small), *[boxes(small)] * 8, boxes(large, small)]
    assert choose_person(link(found), 10).main.frames.tolist() == [0, 9]


def test_pieces_of_one_person_are_joined_before_the_choice():
    lost, back, steady = around(60, 100, 40, 80), around(100, 110, 42, 82), around(400, 100, 40, 50)
    found = [boxes(lost, steady)] * 5 + [boxes(steady)] * 3 + [boxes(back, steady)] * 5
    people = choose_person(link(found, patience=1), 13)
    assert people.main.frames.tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert [track.frames.tolist() for track in people.others] == [list(range(13))]


def test_a_piece_joins_the_nearest_of_those_who_were_lost_before():
    far, near = around(60, 100), around(170, 100)
    found = [boxes(far, near)] * 5 + [boxes()] * 3 + [boxes(around(135, 100))] * 5
    assert choose_person(link(found, patience=0), 13).main.boxes[0, 0] == near[0]


@pytest.mark.parametrize(
    "other", [around(300, 100), around(100, 100, 60, 115), around(100, 100, 16, 30)], ids=["far", "large", "small"]
)
def test_pieces_at_another_place_or_of_another_size_are_other_people(other):
    found = [boxes(around(100, 100))] * 5 + [boxes()] * 3 + [boxes(other)] * 5
    assert len(choose_person(link(found, patience=0, least_overlap=0.5), 13).others) == 1


def test_people_who_are_there_at_the_same_time_are_never_joined():
    found = [boxes(around(100, 100), around(130, 100))] * 4
    people = choose_person(link(found), 4)
    assert len(people.main.frames) == 4 and len(people.others) == 1


def test_without_anybody_there_is_no_main_person():
    with pytest.raises(NoPerson, match="nobody was found in 7 frames"):
        choose_person(link([boxes()] * 7), 7)


def test_tracks_beyond_the_clip_are_refused():
    with pytest.raises(ValueError, match="reaches frame 3 of a clip of 3 frames"):
        choose_person(link([boxes(around(50, 50))] * 4), 3)


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


# ------------------------------------------------------------------------------------------------ following


class Counting(PoseEstimator):
    """An estimator that keeps the sizes of what it was asked for."""

    def __init__(self, models: PoseModels) -> None:
        super().__init__(models, threads=1)
        self.num_detections = 0
        self.batches: list[int] = []

    def detect(self, frame):
        self.num_detections += 1
        return super().detect(frame)

    def estimate(self, frames, boxes):
        self.batches.append(len(frames))
        return super().estimate(frames, boxes)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory) -> Callable[[], Counting]:
    folder = tmp_path_factory.mktemp("networks")
    size = {"width": 96, "height": 128}
    pose = str(write_pose(folder / "pose.onnx", colours=[PERSON, OTHER, HIDDEN], **size))
    detector = str(write_detector(folder / "detector.onnx", colours=[PERSON, OTHER], width=160, height=160))
    return lambda: Counting(PoseModels(detector=detector, pose=pose, feet=pose))


def picture(*people: tuple[Box, tuple[int, int, int]]) -> np.ndarray:
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for box, colour in people:
        frame = draw_person(frame, box, colour)
    return frame


def walking(index: int) -> Box:
    """To the right and back, by up to 5 px a frame, in whole pixels."""
    return around(round(120 + 60 * np.sin(index / 12)), 160)


def truth(box: Box) -> np.ndarray:
    """Keypoints of a person who fills a box."""
    x1, y1, x2, y2 = box
    return figure() * ((x2 - x1) / 2, (y2 - y1) / 2) + ((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2)


def assert_follows(track: PersonTrack, wanted: list[Box], within: float = 2.0) -> None:
    assert np.abs(track.keypoints - [truth(box) for box in wanted]).max() < within
    assert track.scores.min() > 0.5


@pytest.mark.parametrize("num_frames", [1, 2, 8, 9, 33, 40])
def test_keypoints_follow_a_person_through_clips_of_any_length(estimator, num_frames):
    wanted = [walking(index) for index in range(num_frames)]
    track = follow_person((picture((box, PERSON)) for box in wanted), estimator())
    assert_follows(track, wanted)
    assert (track.others == 0).all() and track.share == 1
    assert [getattr(track, field.name).shape for field in fields(track)[:4]] == [
        (num_frames, 133, 2),
        (num_frames, 133),
        (num_frames, 4),
        (num_frames,),
    ]


@pytest.mark.parametrize(
    ("every", "detections", "batches"), [(8, 6, [1, 8, 8, 8, 8, 5]), (1, 38, [1] * 38), (99, 2, [1, 37])]
)
def test_people_are_detected_now_and_then_and_poses_estimated_in_one_batch_between(
    estimator, every, detections, batches
):
    counting = estimator()
    follow_person([picture((around(120, 160), PERSON))] * 38, counting, detect_every=every)
    assert counting.num_detections == detections and counting.batches == batches


def test_only_the_frames_of_one_stretch_are_ever_held(estimator):
    alive: list[int] = []
    made: list[weakref.ref] = []

    def stream() -> Iterator[np.ndarray]:
        for index in range(60):
            alive.append(sum(frame() is not None for frame in made))
            frame = picture((walking(index), PERSON))
            made.append(weakref.ref(frame))
            yield frame
            del frame

    follow_person(stream(), estimator(), detect_every=6)
    assert max(alive) <= 6


def test_the_same_clip_gives_the_same_bytes(estimator):
    clip = [picture((walking(index), PERSON), (around(30, 60, 15, 30), OTHER)) for index in range(20)]
    first, second = follow_person(clip, estimator()), follow_person(iter(clip), estimator())
    for field in fields(first):
        assert np.asarray(getattr(first, field.name)).tobytes() == np.asarray(getattr(second, field.name)).tobytes()


def test_where_the_person_is_absent_scores_are_0_and_boxes_nan(estimator):
    there = [8 <= index < 25 for index in range(40)]
    track = follow_person((picture(*[(walking(5), PERSON)] * shown) for shown in there), estimator())
    np.testing.assert_array_equal(track.present, there)
    np.testing.assert_array_equal(track.scores.max(axis=1) > 0, there)
    np.testing.assert_array_equal(np.isnan(track.others), np.logical_not(there))


def test_boxes_between_two_detections_lie_on_the_way(estimator):
    wanted = [around(40 + 6 * index, 160) for index in range(26)]
    track = follow_person((picture((box, PERSON)) for box in wanted), estimator())
    shared = overlaps(track.boxes, boxes(*wanted)).diagonal()
    assert shared.min() > 0.93


def test_a_person_whom_the_detector_misses_is_followed_by_the_keypoints_and_recognised_afterwards(estimator):
    # On the way, further than the person could be taken for the same one without having been followed.
    wanted = [around(40 + 3 * index, 160) for index in range(55)]
    colours = [HIDDEN if 4 <= index < 44 else PERSON for index in range(55)]
    track = follow_person((picture(one) for one in zip(wanted, colours, strict=True)), estimator())
    assert_follows(track, wanted)
    assert track.share == 1


def test_somebody_next_to_a_person_whom_the_detector_misses_is_not_taken_for_them(estimator):
    main, near = around(90, 160), around(160, 160, 29, 59)
    colours = [HIDDEN if 12 <= index < 28 else PERSON for index in range(40)]
    track = follow_person((picture((near, OTHER), (main, colour)) for colour in colours), estimator())
    assert_follows(track, [main] * 40)


def test_limbs_that_leave_the_box_between_two_detections_are_found_by_a_second_look(estimator):
    wanted = [around(120, 160, 24 + 5 * (4 - abs(index % 8 - 4)) ** 1.5, 60) for index in range(17)]
    wanted = [tuple(round(side) for side in box) for box in wanted]
    counting = estimator()
    track = follow_person((picture((box, PERSON)) for box in wanted), counting)
    assert_follows(track, wanted)
    assert counting.batches[:2] == [1, 8] and 1 <= counting.batches[2] < 8


def test_the_larger_of_two_people_is_followed_and_the_other_one_measured(estimator):
    wanted = [walking(index) for index in range(30)]
    small = around(40, 50, 15, 30)
    track = follow_person((picture((small, OTHER), (box, PERSON)) for box in wanted), estimator())
    assert_follows(track, wanted)
    np.testing.assert_allclose(track.others, 0.25, atol=0.03)


def test_people_who_pass_each_other_are_not_exchanged(estimator):
    clip = []
    for index in range(49):
        main, other = around(60 + 2.5 * index, 200), around(180 - 2.5 * index, 70, 25, 50)
        clip.append(([(other, OTHER), (main, PERSON)], tuple(map(round, main))))
    track = follow_person((picture(*people) for people, _ in clip), estimator())
    assert_follows(track, [main for _, main in clip], within=4)


# Somebody larger leaves after a third of the clip.
LEAVING = [
    picture((around(180, 160, 40, 80), OTHER), (around(60, 160), PERSON))
    if index < 12
    else picture((around(60, 160), PERSON))
    for index in range(36)
]


def test_frames_that_can_be_read_again_are_when_the_first_choice_was_wrong(estimator):
    counting = estimator()
    track = follow_person(LEAVING, counting)
    assert_follows(track, [around(60, 160)] * 36)
    assert track.share == 1 and counting.num_detections == 6
    assert track.others[:9] == pytest.approx(40 * 80 / (30 * 60), abs=0.1) and (track.others[16:] == 0).all()


def test_frames_that_can_be_read_only_once_leave_a_share_that_tells_the_wrong_choice(estimator):
    track = follow_person(iter(LEAVING), estimator())
    assert np.abs(track.keypoints[0, BODY].mean(axis=0)[0] - 180) < 20
    assert not track.present[12:].any()
    assert track.share == pytest.approx(2 * 40 * 80 / (6 * 30 * 60), abs=0.05)


def test_a_clip_without_anybody_or_without_frames_is_refused(estimator):
    with pytest.raises(NoPerson, match="nobody was found"):
        follow_person([picture()] * 20, estimator())
    with pytest.raises(ValueError, match="the clip has no frames"):
        follow_person([], estimator())
    with pytest.raises(ValueError, match="every 1 or more frames, not 0"):
        follow_person([picture()], estimator(), detect_every=0)


@pytest.fixture
def real_detector(sample_data, tmp_path) -> PoseEstimator:
    """A real detector, with a pose model that follows a colour that is in no clip: boxes are left to the detector."""
    pose = str(write_pose(tmp_path / "pose.onnx", colours=[(255, 0, 255)]))
    detector = str(sample_data / "weights" / "yolox_nano.onnx")
    return PoseEstimator(PoseModels(detector=detector, pose=pose, feet=pose), threads=1)


@pytest.mark.parametrize("clip", ["walk_woman_park", "juggle_man_park", "sign_woman_home"])
def test_between_detections_the_pose_model_still_sees_all_of_a_real_person(real_detector, sample_data, clip):
    known = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
    track = follow_person(read_frames(sample_data / "clips" / f"{clip}.mp4"), real_detector)
    views = real_detector.views(track.boxes)[:, None]
    inside = ((known.keypoints >= views[..., :2]) & (known.keypoints <= views[..., 2:])).all(axis=-1)
    assert track.present.all() and inside[known.scores >= 0.3].all()


def test_a_real_person_is_followed_and_a_real_bystander_measured(real_detector, sample_data):
    known = load_keypoints(sample_data / "keypoints" / "balance_man_lab.npz")
    track = follow_person(read_frames(sample_data / "clips" / "balance_man_lab.mp4"), real_detector)
    middles = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    assert np.abs(middles - known.keypoints[:, BODY].mean(axis=1)).max() < 100
    assert track.others.min() > 0.1 and track.others.max() < 0.35
