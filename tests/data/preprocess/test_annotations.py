"""The arrays of a clip: boxes, face points and sharpness are those of its frames, and end where the picture ends."""

from itertools import pairwise

import numpy as np
import pytest

from hia.conditions.blur import hand_sharpness, sharpness
from hia.conditions.regions import Box, face_box, five_points, hand_boxes
from hia.data.preprocess.annotations import measure_frames, measure_keypoints
from hia.images import decode_jpeg, encode_jpeg
from hia.pose.keypoints import HANDS, KeypointSequence
from tests.data.raw_videos import people_at

WIDTH, HEIGHT = 128, 192


def hands_at(*places, scores=1.0):
    """One frame of a person whose left and right hand are 30 px squares about these places."""
    keypoints, seen = np.zeros((1, 133, 2), np.float32), np.zeros((1, 133), np.float32)
    for hand, place in zip(HANDS, places, strict=False):
        keypoints[0, hand] = np.random.default_rng(0).uniform(-15, 15, (21, 2)) + place
        seen[0, hand] = scores
    return KeypointSequence(keypoints, seen, WIDTH, HEIGHT, 30)


def measured(people, **arguments):
    return measure_keypoints(people, np.zeros(people.scores.shape, bool), **arguments)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(90, 160, (3, HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_what_keypoints_give_is_given_frame_by_frame():
    people = people_at(np.array([[60, 90], [64, 95], [300, 90]]), WIDTH, HEIGHT, half=(40, 80))
    arrays = measured(people)
    for index in range(3):
        person = people.keypoints[index], people.scores[index]
        for side, box in enumerate(hand_boxes(*person, WIDTH, HEIGHT)):
            assert tuple(arrays["hand_boxes"][index, side]) == (box or (-1,) * 4)
        assert tuple(arrays["face_boxes"][index]) == (face_box(*person, WIDTH, HEIGHT) or (-1,) * 4)
        np.testing.assert_array_equal(arrays["five_points"][index], five_points(*person))
    assert (arrays["hand_boxes"][2] == -1).all() and (arrays["hand_boxes"][:2] >= 0).all()


def test_five_points_are_unknown_where_one_of_them_was_not_seen():
    people = people_at(np.array([[60, 90], [64, 95]]), WIDTH, HEIGHT, half=(40, 80))
    scores = people.scores.copy()
    scores[1, 23 + 30] = 0.2
    arrays = measured(KeypointSequence(people.keypoints, scores, WIDTH, HEIGHT, 30))
    assert np.isnan(arrays["five_points"]).all(axis=(1, 2)).tolist() == [False, True]
    assert not arrays["face_usable"][1]


def test_sharpness_is_that_of_each_frames_own_hands(noise):
    people = hands_at((40, 60), (90, 130))
    boxes = np.repeat(measured(people)["hand_boxes"], 3, axis=0)
    arrays = measure_frames(noise, boxes, 95)
    expected = [hand_sharpness(frame, people.keypoints[0], people.scores[0]) for frame in noise]
    np.testing.assert_array_equal(arrays["sharpness"], expected)
    assert len(set(arrays["sharpness"].ravel().tolist())) == 6


def test_a_hand_without_a_box_has_no_sharpness(noise):
    boxes = measured(hands_at((40, 60)))["hand_boxes"]
    sharp = measure_frames(noise[:1], boxes, 95)["sharpness"]
    assert np.isnan(sharp).tolist() == [[False, True]]


def test_boxes_end_where_padding_begins(noise):
    """Otherwise the step from the picture to the padding would count as the hand's sharpness."""
    content = Box(0, 50, WIDTH, 150)
    frame = np.zeros_like(noise[0])
    frame[50:150] = 128
    frame[60:140] = noise[0, 60:140] // 16 + 120
    people = hands_at((40, 148), (90, 20))
    boxes = measured(people, content=content)["hand_boxes"]
    left, top, right, bottom = boxes[0, 0].tolist()
    assert (top, bottom) == (hand_boxes(people.keypoints[0], people.scores[0], WIDTH, HEIGHT)[0].top, 150)
    assert (boxes[0, 1] == -1).all(), "a hand that lies in the padding is not seen"
    found = measure_frames([frame], boxes, 95)["sharpness"][0, 0]
    assert found == pytest.approx(sharpness(frame[top:bottom, left:right]))
    unpadded = measured(people)["hand_boxes"]
    assert measure_frames([frame], unpadded, 95)["sharpness"][0, 0] > 3 * found


def test_as_many_frames_as_boxes_are_needed(noise):
    boxes = np.full((2, 2, 4), -1, np.int32)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        measure_frames(noise[:3], boxes, 95)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        measure_frames(noise[:1], boxes, 95)


def test_each_picture_is_found_at_its_offset(noise):
    arrays = measure_frames(noise, np.full((3, 2, 4), -1, np.int32), 90)
    offsets = arrays["offsets"].tolist()
    assert offsets[0] == 0 and offsets[-1] == len(arrays["jpeg"]) and len(offsets) == 4
    for index, (first, end) in enumerate(pairwise(offsets)):
        np.testing.assert_array_equal(arrays["jpeg"][first:end], encode_jpeg(noise[index], 90))


def colours(width, height=64):
    """A picture that is smooth in brightness, with a sharp edge of colour."""
    frame = np.full((height, width, 3), (200, 60, 40), np.uint8)
    frame[:, width // 2 + 1 :] = (40, 110, 200)
    return frame


@pytest.mark.parametrize("width", [64, 320, 321, 512])
def test_a_jpeg_is_the_picture_in_rgb(width):
    frame = colours(width)
    difference = np.abs(decode_jpeg(encode_jpeg(frame, 95)).astype(int) - frame)
    assert difference[:, : width // 2 - 16].max() <= 3 and difference[:, width // 2 + 18 :].max() <= 3
    # Small pictures keep the full resolution of colour, so the edge stays in its place.
    assert (difference[:, width // 2 : width // 2 + 2].max() < 20) == (width <= 320)


def test_better_quality_is_nearer_to_the_picture(noise):
    errors = [np.abs(decode_jpeg(encode_jpeg(noise[0], q)).astype(int) - noise[0]).mean() for q in (50, 80, 100)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 2


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_a_reduced_picture_is_the_mean_of_its_pixels(reduction):
    rows, columns = np.indices((64, 96))
    frame = np.stack([columns * 2, rows * 3, 200 - columns], axis=-1).astype(np.uint8)
    small = decode_jpeg(encode_jpeg(frame, 100), reduction)
    means = frame.reshape(64 // reduction, reduction, 96 // reduction, reduction, 3).mean(axis=(1, 3))
    assert small.shape == means.shape and small.dtype == np.uint8
    np.testing.assert_allclose(small, means, atol=4)


def test_bytes_that_are_no_jpeg_are_refused():
    with pytest.raises(ValueError, match="JPEG is damaged"):
        decode_jpeg(np.frombuffer(b"not a picture at all", np.uint8))
