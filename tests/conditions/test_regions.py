"""Boxes of hands and face, masks, and five face points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.conditions.regions import Box, box_mask, face_box, face_is_usable, five_points, hand_boxes
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FACE, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, flip_horizontal
from tests.conftest import present

WIDTH, HEIGHT = 512, 896


def person(**groups):
    """Keypoints with the named groups at given points, seen; all else unseen at (0, 0)."""
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    for name, points in groups.items():
        group = {"left": LEFT_HAND, "right": RIGHT_HAND, "face": FACE}[name]
        keypoints[group], scores[group] = points, 0.9
    return keypoints, scores


def spread(low, high, count):
    """Points whose bounding box is low..high."""
    points = np.random.default_rng(0).uniform(low, high, (count, 2))
    points[:2] = low, high
    return points


def test_hand_box_is_a_padded_square_around_the_points():
    """100 px wide and 60 high around (199.5, 329.5), the centre of pixels 199 and 200: 150 px a side."""
    box, none = hand_boxes(*person(left=spread((149.5, 299.5), (249.5, 359.5), 21)), WIDTH, HEIGHT)
    assert box == (125, 255, 275, 405)
    assert none is None


def test_right_hand_comes_second():
    none, box = hand_boxes(*person(right=spread((149.5, 299.5), (249.5, 359.5), 21)), WIDTH, HEIGHT)
    assert none is None and box == (125, 255, 275, 405)


@pytest.mark.parametrize(("width", "side"), [(512, 32), (256, 16), (64, 4), (1024, 64)])
def test_least_side_of_a_hand_box_follows_the_frames_width(width, side):
    box, _ = hand_boxes(*person(left=np.full((21, 2), 31.5)), width, 2 * width)
    assert (box.right - box.left, box.bottom - box.top) == (side, side)


@pytest.mark.parametrize(("seen", "found"), [(5, False), (6, True)])
def test_hand_box_needs_six_points(seen, found):
    keypoints, scores = person(left=spread((100, 100), (200, 200), 21))
    scores[LEFT_HAND.start + seen : LEFT_HAND.stop] = 0.29
    assert (hand_boxes(keypoints, scores, WIDTH, HEIGHT)[0] is not None) == found


def test_points_below_the_threshold_do_not_stretch_a_box():
    keypoints, scores = person(left=spread((100, 100), (200, 200), 21))
    before = hand_boxes(keypoints, scores, WIDTH, HEIGHT)
    keypoints[LEFT_HAND.stop - 1], scores[LEFT_HAND.stop - 1] = (400, 400), 0.29
    assert hand_boxes(keypoints, scores, WIDTH, HEIGHT) == before


def test_box_is_clipped_to_the_frame():
    box, _ = hand_boxes(*person(left=spread((-60, 860), (40, 960), 21)), WIDTH, HEIGHT)
    assert box.left == 0 and box.bottom == HEIGHT and box.right < 100 and box.top > 800


@pytest.mark.parametrize("place", [(-400, 100), (700, 100), (100, -300), (100, 2000), (3e38, -3e38)])
def test_hand_outside_the_frame_has_no_box(place):
    points = np.clip(np.array(place) + spread((0, 0), (50, 50), 21), -3e38, 3e38)
    assert hand_boxes(*person(left=points), WIDTH, HEIGHT) == (None, None)


@given(st.integers(0, 2**32 - 1))
def test_boxes_of_the_mirrored_person_are_the_mirrored_boxes(seed):
    rng = np.random.default_rng(seed)
    corner, extent = rng.integers(-50, 900, 2), rng.integers(0, 300, 2)
    keypoints = corner + rng.integers(0, 4 * extent + 1, (NUM_KEYPOINTS, 2)) / 4
    scores = rng.random(NUM_KEYPOINTS)

    def boxes(*who):
        return (*hand_boxes(*who, WIDTH, HEIGHT), face_box(*who, WIDTH, HEIGHT))

    left, right, face = (
        box and Box(WIDTH - box.right, box.top, WIDTH - box.left, box.bottom) for box in boxes(keypoints, scores)
    )
    assert boxes(*flip_horizontal(keypoints, scores, WIDTH)) == (right, left, face)


def test_hand_boxes_hold_the_boxes_the_sample_data_came_with(sample_data):
    """Its boxes have 20 % padding on each side, along each axis for itself: a part of our square with 25 %."""
    for clip in present(sample_data, "gesture_man_kitchen", "gesture_woman_bench", "juggle_man_park"):
        path = sample_data / "keypoints" / f"{clip}.npz"
        sequence, measured = load_keypoints(path), np.load(path)["hand_box"]
        for frame in range(len(sequence)):
            keypoints, scores = sequence.keypoints[frame], sequence.scores[frame]
            for hand, box in enumerate(hand_boxes(keypoints, scores, sequence.width, sequence.height)):
                trusted = (scores[LEFT_HAND if hand == 0 else RIGHT_HAND] >= 0.5).all()
                if box is not None and trusted:
                    left, top, right, bottom = measured[frame, hand]
                    assert box.left <= max(left, 0) + 1 and box.right >= min(right, sequence.width) - 1
                    assert box.top <= max(top, 0) + 1 and box.bottom >= min(bottom, sequence.height) - 1


def test_face_box_has_15_percent_on_each_side():
    box = face_box(*person(face=spread((99.5, 199.5), (199.5, 319.5), 68)), WIDTH, HEIGHT)
    assert box == (85, 182, 215, 338)


@pytest.mark.parametrize(("seen", "found"), [(19, False), (20, True)])
def test_face_box_needs_twenty_points(seen, found):
    keypoints, scores = person(face=spread((100, 100), (200, 200), 68))
    scores[FACE.start + seen : FACE.stop] = 0
    assert (face_box(keypoints, scores, WIDTH, HEIGHT) is not None) == found


def test_mask_is_the_union_of_the_boxes():
    mask = box_mask([Box(1, 2, 4, 6), None, Box(3, 5, 8, 7)], 10, 8)
    assert mask.shape == (1, 8, 10) and mask.dtype == np.float32
    assert mask.sum() == 12 + 10 - 1
    assert mask[0, 2, 1] == mask[0, 6, 7] == 1 and mask[0, 2, 0] == mask[0, 2, 4] == mask[0, 7, 7] == 0


def test_mask_of_no_boxes_is_empty():
    assert box_mask([None, None], 10, 8).max() == 0


def frontal(yaw=0.0, size=200.0, roll=0.0):
    """Five points of a simple head turned by yaw and rolled (radians), around (250, 300)."""
    head = np.array([[-31, -30, 0], [31, -30, 0], [0, 0, 28], [-25, 35, 5], [25, 35, 5]]) * size / 100
    x, y = head[:, 0] * np.cos(yaw) + head[:, 2] * np.sin(yaw), head[:, 1]
    turned = np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], axis=-1)
    return turned + np.array([250, 300])


LARGE = Box(100, 200, 200, 320)


@pytest.mark.parametrize("roll", [0, 0.5, -0.5])
@pytest.mark.parametrize("yaw", [0, 0.5, -0.5])
def test_frontal_and_tilted_faces_are_usable(yaw, roll):
    assert face_is_usable(frontal(yaw, roll=roll), LARGE, WIDTH)


@pytest.mark.parametrize("yaw", [1.2, -1.2, 1.5, -1.5])
def test_faces_turned_away_are_not_usable(yaw):
    assert not face_is_usable(frontal(yaw), LARGE, WIDTH)


def test_narrow_eyes_alone_make_a_face_unusable():
    points = frontal()
    points[:2, 0] = 250 + 0.3 * (points[:2, 0] - 250)
    assert not face_is_usable(points, LARGE, WIDTH)


def test_nose_beside_the_eyes_alone_makes_a_face_unusable():
    points = frontal()
    points[2, 0] = points[1, 0] + 1
    assert not face_is_usable(points, LARGE, WIDTH)


def test_face_seen_as_if_from_behind_is_not_usable():
    assert not face_is_usable(frontal()[[1, 0, 2, 4, 3]], LARGE, WIDTH)


def test_eyes_on_one_spot_are_not_usable():
    points = frontal()
    points[1] = points[0]
    assert not face_is_usable(points, LARGE, WIDTH)


@pytest.mark.parametrize(
    ("width", "side", "usable"), [(512, 48, True), (512, 47, False), (256, 24, True), (1024, 48, False)]
)
def test_least_size_of_a_usable_face_follows_the_frames_width(width, side, usable):
    assert face_is_usable(frontal(), Box(0, 0, side, 100), width) == usable


def test_missing_face_is_not_usable():
    assert not face_is_usable(None, LARGE, WIDTH)
    assert not face_is_usable(frontal(), None, WIDTH)


def test_five_points_of_a_real_face_lie_as_in_the_arcface_template(sample_data):
    template = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
    sequence = load_keypoints(sample_data / "keypoints" / "gesture_woman_bench.npz")
    points = five_points(sequence.keypoints[60], sequence.scores[60])
    assert points.shape == (5, 2) and points.dtype == np.float32
    found, wanted = ((p - p.mean(axis=0)) @ [1, 1j] for p in (points, template))
    similarity = np.vdot(found, wanted) / np.vdot(found, found)
    assert np.abs(similarity * found - wanted).max() < 12


def test_five_points_are_eye_means_nose_tip_and_mouth_corners():
    keypoints, scores = person(face=np.random.default_rng(1).uniform(0, 300, (68, 2)))
    face = keypoints[FACE]
    expected = [face[36:42].mean(axis=0), face[42:48].mean(axis=0), face[30], face[48], face[54]]
    np.testing.assert_allclose(five_points(keypoints, scores), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("point", "missing"), [(36, True), (47, True), (30, True), (48, True), (54, True), (0, False), (51, False)]
)
def test_five_points_need_each_point_they_use(point, missing):
    keypoints, scores = person(face=spread((100, 100), (200, 200), 68))
    scores[FACE.start + point] = 0.29
    assert (five_points(keypoints, scores) is None) == missing


def test_five_points_of_the_mirrored_person_are_the_mirrored_points(sample_data):
    clip, *_ = present(sample_data, "talk_man_white_suit", "gesture_woman_bench")
    sequence = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
    keypoints, scores = sequence.keypoints[0].astype(np.float64), sequence.scores[0]
    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(keypoints, scores)
    expected = np.stack([right_eye, left_eye, nose, right_mouth, left_mouth]) * [-1, 1] + [sequence.width - 1, 0]
    np.testing.assert_allclose(five_points(*flip_horizontal(keypoints, scores, sequence.width)), expected, atol=1e-3)
