"""The control image."""

import numpy as np
import pytest

from hia.conditions.blur import hand_movement
from hia.conditions.control import flip_conditions, render_control
from hia.conditions.regions import hand_boxes
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import HANDS, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, flip_horizontal
from hia.pose.render import OPENPOSE, render_skeleton
from tests.conftest import present

WIDTH, HEIGHT = 256, 448
MOVEMENT = np.array([[0.25, -0.5], [-0.75, 1.0]], np.float32)
SHARPNESS = np.array([0.125, 0.875], np.float32)
VALUES = [[0.25, -0.5, 0.125], [-0.75, 1.0, 0.875]]


def two_hands(left=(60, 200), right=(190, 220), left_size=40, right_size=40):
    """Only the two hands are seen: squares of points around two places."""
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    square = np.array([[-1, -1], [1, 1], *np.random.default_rng(0).uniform(-1, 1, (19, 2))]) / 2
    keypoints[LEFT_HAND], keypoints[RIGHT_HAND] = left + square * left_size, right + square * right_size
    scores[LEFT_HAND], scores[RIGHT_HAND] = 0.8, 0.6
    return keypoints, scores


def test_first_three_channels_are_the_skeleton(sample_data):
    for clip in present(sample_data, "gesture_man_kitchen", "walk_woman_park"):
        sequence = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
        for feet in (False, True):
            frame = sequence.keypoints[7], sequence.scores[7]
            control = render_control(*frame, MOVEMENT, SHARPNESS, sequence.width, sequence.height, feet=feet)
            skeleton = render_skeleton(*frame, sequence.width, sequence.height, feet=feet)
            assert control.shape == (6, sequence.height, sequence.width) and control.dtype == np.float32
            np.testing.assert_array_equal(control[:3], skeleton)


def test_without_the_blur_condition_the_skeleton_is_all():
    keypoints, scores = two_hands()
    both = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)
    bare = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT, blur=False)
    np.testing.assert_array_equal(bare, both[:3])


def test_feet_are_left_out_unless_asked_for():
    keypoints, scores = two_hands()
    keypoints[15:23], scores[15:23] = np.random.default_rng(2).uniform(50, 200, (8, 2)), 1
    plain = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)
    np.testing.assert_array_equal(plain[:3], render_skeleton(keypoints, scores, WIDTH, HEIGHT, feet=False))


def test_each_hands_box_holds_its_values_and_the_rest_is_zero():
    keypoints, scores = two_hands()
    control = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)[3:]
    for box, values in zip(hand_boxes(keypoints, scores, WIDTH, HEIGHT), VALUES, strict=True):
        inside = control[:, box.top : box.bottom, box.left : box.right]
        np.testing.assert_array_equal(inside, np.broadcast_to(np.float32(values)[:, None, None], inside.shape))
        inside[:] = 0
    assert not control.any()


@pytest.mark.parametrize("winner", [0, 1])
def test_where_boxes_overlap_the_hand_with_the_higher_mean_score_wins(winner):
    keypoints, scores = two_hands(left=(100, 200), right=(120, 210))
    scores[HANDS[winner]] = 0.95
    control = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)[3:]
    boxes = hand_boxes(keypoints, scores, WIDTH, HEIGHT)
    box = boxes[winner]
    np.testing.assert_array_equal(
        control[:, box.top : box.bottom, box.left : box.right].min(axis=(1, 2)), VALUES[winner]
    )
    np.testing.assert_array_equal(
        control[:, box.top : box.bottom, box.left : box.right].max(axis=(1, 2)), VALUES[winner]
    )
    other, corner = boxes[1 - winner], (0, 0) if winner == 1 else (-1, -1)
    np.testing.assert_array_equal(
        control[:, other.top : other.bottom, other.left : other.right][:, corner[0], corner[1]], VALUES[1 - winner]
    )


def test_mean_score_counts_all_points_of_a_hand():
    keypoints, scores = two_hands(left=(100, 200), right=(110, 205))
    scores[LEFT_HAND] = 0.3
    scores[LEFT_HAND.start : LEFT_HAND.start + 5] = 1.0
    scores[RIGHT_HAND] = 0.5
    assert render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)[5, 203, 105] == SHARPNESS[1]


@pytest.mark.parametrize(("left_size", "right_size", "winner"), [(30, 60, 0), (60, 30, 1)])
def test_between_equal_scores_the_smaller_box_wins(left_size, right_size, winner):
    keypoints, scores = two_hands((100, 200), (104, 204), left_size, right_size)
    scores[LEFT_HAND] = scores[RIGHT_HAND] = 1
    assert render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)[5, 202, 102] == SHARPNESS[winner]


def test_unknown_sharpness_becomes_zero_for_that_hand_only():
    keypoints, scores = two_hands()
    control = render_control(keypoints, scores, MOVEMENT, np.array([np.nan, 0.875]), WIDTH, HEIGHT)
    assert control[3:, 200, 60].tolist() == [0.25, -0.5, 0]
    assert control[3:, 220, 190].tolist() == VALUES[1]


def test_hand_without_a_box_leaves_no_values():
    keypoints, scores = two_hands()
    scores[LEFT_HAND] = 0
    control = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)
    assert not control[3:, :, :120].any() and control[3:, 220, 190].all()


@pytest.mark.parametrize("seed", range(5))
def test_control_image_of_the_mirrored_sample_is_the_mirrored_control_image(seed):
    """With v_x → −v_x and the colours of left and right exchanged; also where boxes overlap."""
    rng = np.random.default_rng(seed)
    keypoints, scores = two_hands(*rng.integers(80, 170, (2, 2)), *rng.integers(20, 80, 2))
    scores[LEFT_HAND] = scores[RIGHT_HAND] = 0.7
    control = render_control(keypoints, scores, MOVEMENT, SHARPNESS, WIDTH, HEIGHT)
    conditions = flip_conditions(MOVEMENT, SHARPNESS)
    flipped = render_control(*flip_horizontal(keypoints, scores, WIDTH), *conditions, WIDTH, HEIGHT)
    np.testing.assert_array_equal(flipped[3:], control[3:, :, ::-1] * np.float32([-1, 1, 1])[:, None, None])
    exchanged = render_skeleton(keypoints, scores, WIDTH, HEIGHT, palette=OPENPOSE.mirrored())
    np.testing.assert_allclose(flipped[:3], exchanged[:, :, ::-1], atol=1e-5)


def test_real_motion_gives_values_in_range(sample_data):
    clip, *_ = present(sample_data, "sign_woman_home", "gesture_woman_bench")
    sequence = load_keypoints(sample_data / "keypoints" / f"{clip}.npz").resized(64, 112)
    movement = hand_movement(sequence.keypoints, sequence.scores, 64, 112, sequence.fps)
    for frame in range(len(sequence)):
        control = render_control(sequence.keypoints[frame], sequence.scores[frame], movement[frame], SHARPNESS, 64, 112)
        assert np.isfinite(control).all() and np.abs(control[3:5]).max() <= 1


def test_flipped_conditions_negate_x_and_exchange_hands():
    movement, sharpness = flip_conditions(np.stack([MOVEMENT, 2 * MOVEMENT]), np.stack([SHARPNESS] * 2))
    np.testing.assert_array_equal(movement[0], [[0.75, 1.0], [-0.25, -0.5]])
    np.testing.assert_array_equal(movement[1], 2 * movement[0])
    np.testing.assert_array_equal(sharpness, [[0.875, 0.125]] * 2)


def test_flipping_conditions_twice_is_the_identity():
    movement, sharpness = flip_conditions(*flip_conditions(MOVEMENT, SHARPNESS))
    np.testing.assert_array_equal(movement, MOVEMENT)
    np.testing.assert_array_equal(sharpness, SHARPNESS)


def test_flipping_conditions_leaves_the_inputs_alone():
    movement, sharpness = MOVEMENT.copy(), SHARPNESS.copy()
    flipped = flip_conditions(movement, sharpness)
    flipped[0][:], flipped[1][:] = 9, 9
    np.testing.assert_array_equal(movement, MOVEMENT)
    np.testing.assert_array_equal(sharpness, SHARPNESS)


@pytest.mark.parametrize(
    ("movement", "sharpness", "message"),
    [
        (MOVEMENT * 2, SHARPNESS, r"movement must lie in \[−1, 1\].*hand_movement"),
        (MOVEMENT * np.nan, SHARPNESS, "movement"),
        (MOVEMENT, SHARPNESS * 100, r"sharpness must lie in \[0, 1\].*SharpnessScale"),
        (MOVEMENT, -SHARPNESS, "sharpness"),
        (MOVEMENT[0], SHARPNESS, r"\[2 hands, 2\]"),
        (MOVEMENT, SHARPNESS[:1], r"\[2 hands\]"),
    ],
)
def test_values_out_of_range_are_refused(movement, sharpness, message):
    with pytest.raises(ValueError, match=message):
        render_control(*two_hands(), movement, sharpness, WIDTH, HEIGHT)


def test_other_layouts_are_refused():
    with pytest.raises(ValueError, match=r"\[17, 2\]"):
        render_control(np.zeros((17, 2)), np.zeros(17), MOVEMENT, SHARPNESS, WIDTH, HEIGHT)
