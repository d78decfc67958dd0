"""Following one person through a stream of frames."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import pytest

from hia.pose.box_tracks import NoPerson, overlaps
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import BODY
from hia.pose.top_down import PoseModels, TopDownEstimator
from hia.pose.tracking import PersonTrack, follow_person
from hia.video import read_frames
from tests.pose.boxes import Box, around, boxes
from tests.pose.tiny_onnx import OTHER, PERSON, draw_person, figure, write_detector, write_pose

WIDTH, HEIGHT = 240, 320
# A colour that the pose model sees and the detector does not.
HIDDEN = (240, 200, 20)


class Counting(TopDownEstimator):
    """An estimator that records its detections and the sizes of its batches."""

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
def counting(tmp_path_factory) -> Callable[[], Counting]:
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
def test_keypoints_follow_a_person_through_clips_of_any_length(counting, num_frames):
    wanted = [walking(index) for index in range(num_frames)]
    track = follow_person((picture((box, PERSON)) for box in wanted), counting())
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
    counting, every, detections, batches
):
    counting = counting()
    follow_person([picture((around(120, 160), PERSON))] * 38, counting, detect_every=every)
    assert counting.num_detections == detections and counting.batches == batches


def test_only_the_frames_of_one_stretch_are_ever_held(counting):
    alive: list[int] = []
    made: list[weakref.ref] = []

    def stream() -> Iterator[np.ndarray]:
        for index in range(60):
            alive.append(sum(frame() is not None for frame in made))
            frame = picture((walking(index), PERSON))
            made.append(weakref.ref(frame))
            yield frame
            del frame

    follow_person(stream(), counting(), detect_every=6)
    assert max(alive) <= 6


def test_the_same_clip_gives_the_same_bytes(counting):
    clip = [picture((walking(index), PERSON), (around(30, 60, 15, 30), OTHER)) for index in range(20)]
    first, second = follow_person(clip, counting()), follow_person(iter(clip), counting())
    for field in fields(first):
        assert np.asarray(getattr(first, field.name)).tobytes() == np.asarray(getattr(second, field.name)).tobytes()


def test_where_the_person_is_absent_scores_are_0_and_boxes_nan(counting):
    there = [8 <= index < 25 for index in range(40)]
    track = follow_person((picture(*[(walking(5), PERSON)] * shown) for shown in there), counting())
    np.testing.assert_array_equal(track.present, there)
    np.testing.assert_array_equal(track.scores.max(axis=1) > 0, there)
    np.testing.assert_array_equal(np.isnan(track.others), np.logical_not(there))


def test_boxes_between_two_detections_lie_on_the_way(counting):
    wanted = [around(40 + 6 * index, 160) for index in range(26)]
    track = follow_person((picture((box, PERSON)) for box in wanted), counting())
    shared = overlaps(track.boxes, boxes(*wanted)).diagonal()
    assert shared.min() > 0.93


def test_a_person_whom_the_detector_misses_is_followed_by_the_keypoints_and_recognised_afterwards(counting):
    # On the way, further than the person could be taken for the same one without having been followed.
    wanted = [around(40 + 3 * index, 160) for index in range(55)]
    colours = [HIDDEN if 4 <= index < 44 else PERSON for index in range(55)]
    track = follow_person((picture(one) for one in zip(wanted, colours, strict=True)), counting())
    assert_follows(track, wanted)
    assert track.share == 1


def test_somebody_next_to_a_person_whom_the_detector_misses_is_not_taken_for_them(counting):
    main, near = around(90, 160), around(160, 160, 29, 59)
    colours = [HIDDEN if 12 <= index < 28 else PERSON for index in range(40)]
    track = follow_person((picture((near, OTHER), (main, colour)) for colour in colours), counting())
    assert_follows(track, [main] * 40)


def test_limbs_that_leave_the_box_between_two_detections_are_found_by_a_second_look(counting):
    wanted = [around(120, 160, 24 + 5 * (4 - abs(index % 8 - 4)) ** 1.5, 60) for index in range(17)]
    wanted = [tuple(round(side) for side in box) for box in wanted]
    counting = counting()
    track = follow_person((picture((box, PERSON)) for box in wanted), counting)
    assert_follows(track, wanted)
    assert counting.batches[:2] == [1, 8] and 1 <= counting.batches[2] < 8


def test_the_larger_of_two_people_is_followed_and_the_other_one_measured(counting):
    wanted = [walking(index) for index in range(30)]
    small = around(40, 50, 15, 30)
    track = follow_person((picture((small, OTHER), (box, PERSON)) for box in wanted), counting())
    assert_follows(track, wanted)
    np.testing.assert_allclose(track.others, 0.25, atol=0.03)


def test_people_who_pass_each_other_are_not_exchanged(counting):
    clip = []
    for index in range(49):
        main, other = around(60 + 2.5 * index, 200), around(180 - 2.5 * index, 70, 25, 50)
        clip.append(([(other, OTHER), (main, PERSON)], tuple(map(round, main))))
    track = follow_person((picture(*people) for people, _ in clip), counting())
    assert_follows(track, [main for _, main in clip], within=4)


# Somebody larger leaves after a third of the clip.
LEAVING = [
    picture((around(180, 160, 40, 80), OTHER), (around(60, 160), PERSON))
    if index < 12
    else picture((around(60, 160), PERSON))
    for index in range(36)
]


def test_frames_that_can_be_read_again_are_when_the_first_choice_was_wrong(counting):
    counting = counting()
    track = follow_person(LEAVING, counting)
    assert_follows(track, [around(60, 160)] * 36)
    assert track.share == 1 and counting.num_detections == 6
    assert track.others[:9] == pytest.approx(40 * 80 / (30 * 60), abs=0.1) and (track.others[16:] == 0).all()


def test_frames_that_can_be_read_only_once_leave_a_share_that_tells_the_wrong_choice(counting):
    track = follow_person(iter(LEAVING), counting())
    assert np.abs(track.keypoints[0, BODY].mean(axis=0)[0] - 180) < 20
    assert not track.present[12:].any()
    assert track.share == pytest.approx(2 * 40 * 80 / (6 * 30 * 60), abs=0.05)


def test_a_clip_without_anybody_or_without_frames_is_refused(counting):
    with pytest.raises(NoPerson, match="nobody was found"):
        follow_person([picture()] * 20, counting())
    with pytest.raises(ValueError, match="the clip has no frames"):
        follow_person([], counting())
    with pytest.raises(ValueError, match="every 1 or more frames, not 0"):
        follow_person([picture()], counting(), detect_every=0)


@pytest.fixture
def real_detector(sample_data, tmp_path) -> TopDownEstimator:
    """A real detector, with a pose model that follows a colour that is in no clip: boxes are left to the detector."""
    pose = str(write_pose(tmp_path / "pose.onnx", colours=[(255, 0, 255)]))
    detector = str(sample_data / "weights" / "yolox_nano.onnx")
    return TopDownEstimator(PoseModels(detector=detector, pose=pose, feet=pose), threads=1)


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
