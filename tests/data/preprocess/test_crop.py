"""The crop of a clip: holds the person, keeps the aspect, pads only where the frame ends, moves points with pixels."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hia.data.preprocess.crop import Crop, person_extent, plan_crop

SIZES = [(512, 896), (64, 112), (256, 448), (512, 512), (500, 897)]


def person(left, top, right, bottom, frames=4):
    """A person with body points only, spread over a rectangle in each frame."""
    keypoints, scores = np.zeros((frames, 133, 2), np.float32), np.zeros((frames, 133), np.float32)
    keypoints[:, :4] = [[left, top], [right, top], [left, bottom], [right, bottom]]
    scores[:, :4] = 1
    return keypoints, scores


@st.composite
def people_in_frames(draw):
    width, height = draw(st.integers(80, 1920)), draw(st.integers(80, 1920))
    left, top = draw(st.integers(0, width - 20)), draw(st.integers(0, height - 20))
    right, bottom = draw(st.integers(left + 10, width - 1)), draw(st.integers(top + 10, height - 1))
    return (width, height), (left, top, right, bottom)


@settings(deadline=None)
@given(people_in_frames(), st.sampled_from(SIZES), st.floats(0, 0.5))
def test_the_crop_has_the_targets_aspect_and_pads_only_where_the_frame_ends(case, target, margin):
    (width, height), extent = case
    crop = plan_crop(*person(*extent), (width, height), target, margin)
    assert abs(crop.width * target[1] / (crop.height * target[0]) - 1) < 0.05
    if target != (500, 897):
        assert crop.width * target[1] == crop.height * target[0]
    # Inside the frame along each side on which it could be; over both of its edges where it could not.
    for first, length, available in ((crop.left, crop.width, width), (crop.top, crop.height, height)):
        assert (first >= 0 and first + length <= available) or (first <= 0 and first + length >= available)


@settings(deadline=None)
@given(people_in_frames(), st.sampled_from(SIZES[:4]), st.floats(0, 0.5))
def test_the_crop_holds_the_person(case, target, margin):
    (width, height), (left, top, right, bottom) = case
    crop = plan_crop(*person(left, top, right, bottom), (width, height), target, margin)
    slack = 9  # a frame that just fits the person may lose a portion of the aspect ratio
    assert crop.left <= left + slack and crop.left + crop.width >= right + 1 - slack
    assert crop.top <= top + slack and crop.top + crop.height >= bottom + 1 - slack


@settings(deadline=None)
@given(people_in_frames(), st.sampled_from(SIZES[:4]))
def test_an_extent_that_fits_inside_the_frame_is_not_padded(case, target):
    (width, height), (left, top, right, bottom) = case
    assume((right + 1 - left) * target[1] <= height * target[0] - 20 * target[0])
    crop = plan_crop(*person(left, top, right, bottom), (width, height), target, 0.1)
    assume(bottom + 1 - top <= width * target[1] / target[0] - 20)
    assert crop.padding == 0
    assert crop.content == (0, 0, *target)


def test_the_margin_gives_way_before_padding_begins():
    crop = plan_crop(*person(0, 0, 511, 895), (512, 896), (512, 896), 0.1)
    assert (crop.left, crop.top, crop.width, crop.height) == (0, 0, 512, 896)
    roomy = plan_crop(*person(400, 200, 599, 549), (1000, 1000), (512, 896), 0.1)
    assert roomy.height == pytest.approx(350 * 1.2, abs=7)


def test_hair_above_the_brows_belongs_to_the_person():
    keypoints, scores = person(40, 50, 60, 90)
    keypoints[:, 23:91] = [50, 60]
    keypoints[:, 23, 1], keypoints[:, 31, 1] = 50, 70
    scores[:, 23:91] = 1
    assert person_extent(keypoints, scores, 200, 200)[1] == pytest.approx(50 - 0.75 * 20)


def test_a_point_gone_astray_in_one_frame_of_many_does_not_shrink_the_person():
    keypoints, scores = person(100, 100, 199, 299, frames=400)
    keypoints[7, 0] = [900, 900]
    _, _, right, bottom = person_extent(keypoints, scores, 1000, 1000)
    assert right <= 210 and bottom <= 310


def test_points_outside_the_frame_do_not_widen_the_crop():
    crop = plan_crop(*person(-300, 100, 99, 299), (400, 400), (512, 896), 0)
    assert crop.left >= 0


@pytest.mark.parametrize("target", SIZES)
@pytest.mark.parametrize("source", [(640, 360), (360, 640), (90, 90)])
def test_points_move_with_the_pixels(source, target):
    """A bright square of the source is found, after the crop, at the position of its centre's moved keypoint."""
    width, height = source
    spot = (width // 2 + 7, height // 2 - 11)
    crop = plan_crop(*person(width // 4, 8, 3 * width // 4, height - 9), source, target, 0.1)
    frame = np.zeros((height, width, 3), np.uint8)
    frame[spot[1] - 3 : spot[1] + 4, spot[0] - 3 : spot[0] + 4] = 255
    picture = crop.apply(frame).astype(float)[..., 0]
    assert picture.shape == (target[1], target[0])
    rows, columns = np.indices(picture.shape)
    centre = np.array([(columns * picture).sum(), (rows * picture).sum()]) / picture.sum()
    np.testing.assert_allclose(crop.move(np.array(spot)), centre, atol=0.1)


def test_padding_is_black_and_content_says_where_the_picture_is():
    frame = np.full((100, 300, 3), 200, np.uint8)
    crop = plan_crop(*person(0, 0, 299, 99), (300, 100), (64, 112), 0)
    picture = crop.apply(frame)
    left, top, right, bottom = crop.content
    assert (left, right) == (0, 64) and 0 < top < bottom < 112
    assert (picture[top:bottom] >= 190).all() and (picture[: top - 2] == 0).all() and (picture[bottom + 2 :] == 0).all()
    assert crop.padding == pytest.approx(1 - (bottom - top) / 112, abs=0.03)


def test_nobody_cannot_be_cropped():
    keypoints, scores = person(0, 0, 10, 10)
    with pytest.raises(ValueError, match="no keypoint"):
        plan_crop(keypoints, scores * 0, (100, 100), (64, 112), 0.1)


def test_a_crop_tells_its_scale():
    crop = Crop(0, 0, 128, 224, 512, 896, 512, 896)
    assert crop.upscale == 4


@settings(deadline=None)
@given(st.integers(1, 4000), st.sampled_from(SIZES))
def test_without_padding_the_content_is_everything(portions, target):
    """True even where a width and its inverse, as floating-point numbers, multiply to less than 1."""
    width, height = 4 * portions, 7 * portions
    assert Crop(0, 0, width, height, width, height, *target).content == (0, 0, *target)


def test_content_is_what_holds_no_padding_at_all():
    crop = Crop(-1, -10, 30, 70, 25, 55, 15, 35)  # halved: columns 0.5 to 13, rows 5 to 32.5
    assert crop.content == (1, 5, 13, 32)


@pytest.mark.parametrize("source", [(1920, 1080), (1280, 720), (161, 302)])
def test_someone_who_fills_the_frame_gets_no_rim_of_padding(source):
    """Neither 1080, 720 nor 302 are multiples of 7, nor is 161 one of 4."""
    width, height = source
    wide = min(width, height * 4 // 7)
    crop = plan_crop(*person(0, 0, wide - 1, height - 1 if wide < width else 100), source, (512, 896), 0.1)
    assert crop.padding == 0 and crop.content == (0, 0, 512, 896)
    assert wide - 4 < crop.width <= wide


def test_an_odd_aspect_ratio_costs_no_one_more_than_the_rim():
    """500:897 is approached in steps of 64 px."""
    crop = plan_crop(*person(300, 0, 500, 1079), (1920, 1080), (500, 897), 0.1)
    assert crop.top <= 8 and crop.top + crop.height >= 1080 - 8


def test_a_frame_smaller_than_a_portion_has_a_crop_too():
    crop = plan_crop(*person(1, 1, 2, 2, frames=2), (6, 6), (512, 896), 0)
    assert (crop.width, crop.height) == (4, 7)
