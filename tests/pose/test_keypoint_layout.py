"""The 133 keypoints: layout, mirror, and the transform to another frame size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.images import cover_transform
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import (
    BODY,
    FACE,
    FEET,
    FLIP_TABLE,
    HANDS,
    JOINTS,
    LEFT_HAND,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    flip_horizontal,
)


def random_person(seed, width=512, height=896, frames=()):
    """Keypoints in steps of 1/1024 px, which float32 holds exactly after the mirror too, and scores."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, [width * 1024, height * 1024], (*frames, NUM_KEYPOINTS, 2))
    return (grid / 1024).astype(np.float32), rng.random((*frames, NUM_KEYPOINTS), dtype=np.float32)


def test_groups_cover_all_points_once():
    indices = [np.arange(NUM_KEYPOINTS)[group] for group in (BODY, FEET, FACE, LEFT_HAND, RIGHT_HAND)]
    assert [len(group) for group in indices] == [17, 6, 68, 21, 21]
    assert np.concatenate(indices).tolist() == list(range(133))


def test_hands_are_left_then_right():
    assert HANDS == (LEFT_HAND, RIGHT_HAND)


def test_flip_table_is_its_own_inverse():
    assert FLIP_TABLE[FLIP_TABLE].tolist() == list(range(133))


def test_flip_table_exchanges_names_of_body_and_feet():
    for name, index in JOINTS.items():
        other = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert FLIP_TABLE[index] == JOINTS[other], name


@pytest.mark.parametrize(
    ("point", "mirrored"),
    [(0, 0), (9, 10), (5, 6), (15, 16), (17, 20), (19, 22), (91, 112), (111, 132), (103, 124)],
)
def test_flip_table_of_body_feet_and_hands(point, mirrored):
    assert FLIP_TABLE[point] == mirrored


@pytest.mark.parametrize(
    ("point", "mirrored"),
    [
        *((0, 16), (7, 9), (8, 8)),  # jaw and chin
        *((17, 26), (21, 22)),  # eyebrows
        *((27, 27), (30, 30), (31, 35), (32, 34), (33, 33)),  # nose
        *((36, 45), (39, 42), (37, 44), (40, 47), (41, 46)),  # eyes: outer and inner corners, upper and lower lids
        *((48, 54), (51, 51), (57, 57), (59, 55), (60, 64), (62, 62), (67, 65), (66, 66)),  # lips
    ],
)
def test_flip_table_of_the_face(point, mirrored):
    assert FLIP_TABLE[FACE.start + point] == FACE.start + mirrored


def mirror_error(face):
    """Distance, in face sizes, of a point from its pair in the mirrored face, moved, turned and scaled to fit."""
    point, mirrored = (points @ [1, 1j] for points in (face, face[FLIP_TABLE[FACE] - FACE.start] * [-1, 1]))
    point, mirrored = point - point.mean(), mirrored - mirrored.mean()
    similarity = np.vdot(mirrored, point) / np.vdot(mirrored, mirrored)
    return np.abs(point - similarity * mirrored).max() / point.std()


@pytest.mark.parametrize("clip", ["gesture_woman_bench", "talk_man_white_suit"])
def test_flip_table_mirrors_real_frontal_faces(sample_data, clip):
    faces = load_keypoints(sample_data / "keypoints" / f"{clip}.npz").keypoints[:, FACE].astype(np.float64)
    assert min(mirror_error(face) for face in faces) < 0.06


def test_flip_moves_a_point_to_the_mirrored_pixel():
    keypoints, scores = random_person(0)
    flipped, flipped_scores = flip_horizontal(keypoints, scores, 512)
    assert flipped[10].tolist() == [511 - keypoints[9, 0], keypoints[9, 1]]
    assert flipped_scores[10] == scores[9]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 1024))
def test_flip_twice_is_the_identity(dtype, seed, width):
    keypoints, scores = random_person(seed, width, frames=(2,))
    twice = flip_horizontal(*flip_horizontal(keypoints.astype(dtype), scores, width), width)
    assert twice[0].dtype == dtype
    np.testing.assert_array_equal(twice[0], keypoints)
    np.testing.assert_array_equal(twice[1], scores)


def test_flip_twice_of_real_keypoints_is_the_identity_to_the_last_place(sample_data):
    for path in sorted((sample_data / "keypoints").glob("*.npz")):
        sequence = load_keypoints(path)
        once = flip_horizontal(sequence.keypoints, sequence.scores, sequence.width)
        twice = flip_horizontal(*once, sequence.width)
        np.testing.assert_allclose(twice[0], sequence.keypoints, atol=1.3e-4, rtol=0)
        np.testing.assert_array_equal(flip_horizontal(*twice, sequence.width)[0], once[0])


def test_flip_leaves_its_inputs_alone():
    keypoints, scores = random_person(1)
    before = keypoints.copy(), scores.copy()
    flip_horizontal(keypoints, scores, 512)
    np.testing.assert_array_equal(keypoints, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_flip_refuses_other_layouts():
    with pytest.raises(ValueError, match=r"\[17, 2\]"):
        flip_horizontal(np.zeros((17, 2)), np.zeros(17), 512)


sizes = st.integers(1, 4000)


@given(sizes, sizes, sizes, sizes)
def test_cover_transform_fills_the_frame_and_cuts_both_sides_equally(source_width, source_height, width, height):
    scale, offset_x, offset_y = cover_transform(source_width, source_height, width, height)
    for source, target, offset in ((source_width, width, offset_x), (source_height, height, offset_y)):
        first_edge, last_edge = 0 * scale - offset, source * scale - offset
        assert first_edge <= 1e-6 * target and last_edge >= target * (1 - 1e-6)
        assert first_edge + last_edge == pytest.approx(target)
    assert min(offset_x, offset_y) == pytest.approx(0, abs=1e-6 * max(width, height))


def test_cover_transform_of_the_same_size_changes_nothing():
    assert cover_transform(480, 640, 480, 640) == (1, 0, 0)


def test_cover_transform_refuses_empty_frames():
    with pytest.raises(ValueError, match="positive"):
        cover_transform(0, 640, 480, 640)
