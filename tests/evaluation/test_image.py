"""The measures of frames: DisCo's definitions, against scikit-image, closed forms and numbers computed elsewhere."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hia.evaluation.image import MEASURES, l1, l1_disco, psnr, ssim


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def flat(value: int, shape: tuple[int, ...] = (1, 16, 24, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def smooth_pair(seed: int, height: int = 61, width: int = 47) -> tuple[np.ndarray, np.ndarray]:
    """A soft picture, and the same a little blurred, moved and noisy, as a generated frame is."""
    picture = cv2.GaussianBlur(noise((height, width, 3), seed), (0, 0), 3)
    moved = np.roll(cv2.GaussianBlur(picture, (0, 0), 1), 1, axis=1).astype(np.int64)
    changed = np.clip(moved + np.random.default_rng(seed).integers(-9, 10, moved.shape), 0, 255).astype(np.uint8)
    return picture[None], changed[None]


@pytest.mark.parametrize("seed", range(5))
def test_ssim_is_that_of_scikit_image_on_opencvs_grey(seed):
    for one, other in (smooth_pair(seed), (noise((1, 30, 41, 3), seed), noise((1, 30, 41, 3), seed + 99))):
        grey = [cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY) for frames in (one, other)]
        assert ssim(one, other)[0] == pytest.approx(structural_similarity(*grey), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_psnr_is_that_of_scikit_image(seed):
    one, other = smooth_pair(seed)
    assert psnr(one, other)[0] == pytest.approx(peak_signal_noise_ratio(one[0], other[0], data_range=255), abs=1e-9)


@pytest.mark.parametrize(
    ("difference", "decibels"), [(1, 48.1308), (10, 28.1308), (16, 24.0484), (20, 22.1102), (48, 14.5060), (255, 0.0)]
)
def test_psnr_of_a_constant_difference_does_not_wrap_at_256(difference, decibels):
    # In uint8, a difference of 16 or 48 would count as none, and 20 would give 26.5 dB.
    for pair in ((flat(0), flat(difference)), (flat(difference), flat(0))):
        assert psnr(*pair)[0] == pytest.approx(decibels, abs=5e-5)


def test_psnr_of_equal_frames_is_100():
    frames = noise((2, 9, 9, 3))
    assert psnr(frames, frames).tolist() == [100.0, 100.0]


@pytest.mark.parametrize(("difference", "expected"), [(1, 2.179827e-06), (10, 2.179827e-05), (20, 4.359654e-05)])
def test_l1_of_disco_divides_by_the_number_of_pixels_once_more(difference, expected):
    black, grey = flat(0, (1, 896, 512, 3)), flat(difference, (1, 896, 512, 3))
    assert l1(black, grey)[0] == pytest.approx(difference)
    assert l1_disco(grey, black)[0] == pytest.approx(expected, rel=1e-6)


def test_the_same_error_counts_seven_times_as_much_to_disco_at_256_by_256_as_at_512_by_896():
    small, large = (l1_disco(flat(3, shape), flat(9, shape))[0] for shape in ((1, 256, 256, 3), (1, 896, 512, 3)))
    assert small / large == pytest.approx(7.0)


@given(st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_ssim_of_even_frames_is_that_of_their_luminance_alone(a, b):
    expected = (2 * a * b + 6.5025) / (a**2 + b**2 + 6.5025)
    assert ssim(flat(a), flat(b))[0] == pytest.approx(expected, abs=1e-9)


def test_ssim_of_100_and_110_is_the_published_number():
    assert ssim(flat(100), flat(110))[0] == pytest.approx(0.99547644, abs=1e-8)


def test_exchanging_red_and_blue_changes_ssim_but_neither_l1_nor_psnr():
    one, other = smooth_pair(3)
    mirrored = one[..., ::-1], other[..., ::-1]
    assert abs(ssim(*mirrored)[0] - ssim(one, other)[0]) > 1e-4
    assert l1(*mirrored)[0] == pytest.approx(l1(one, other)[0])
    assert psnr(*mirrored)[0] == pytest.approx(psnr(one, other)[0])


@pytest.mark.parametrize("name", MEASURES)
def test_every_frame_is_measured_for_itself_and_either_way_round(name):
    one, other = (np.concatenate(frames) for frames in zip(*map(smooth_pair, (1, 2, 3)), strict=True))
    measure = MEASURES[name]
    each = [measure(one[index : index + 1], other[index : index + 1])[0] for index in range(3)]
    assert measure(one, other).tolist() == each
    assert measure(other, one) == pytest.approx(each, abs=1e-12)
    assert len(set(each)) == 3


@pytest.mark.parametrize("name", MEASURES)
def test_frames_of_unequal_number_or_size_are_refused(name):
    frames = noise((3, 16, 16, 3))
    for others in (noise((2, 16, 16, 3)), noise((3, 16, 17, 3)), noise((3, 17, 16, 3))):
        with pytest.raises(ValueError, match="unequal number or size"):
            MEASURES[name](frames, others)


@pytest.mark.parametrize("name", MEASURES)
def test_only_whole_grey_levels_of_colour_frames_are_measured(name):
    frames = noise((2, 16, 16, 3))
    for wrong in (frames / 255, frames[0], frames[..., :1], frames[:0], frames.astype(np.int16)):
        with pytest.raises(ValueError, match=r"generated must be uint8 \[N, H, W, 3\]"):
            MEASURES[name](frames, wrong)


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 7×7"):
        ssim(flat(1, (1, 6, 20, 3)), flat(2, (1, 6, 20, 3)))
