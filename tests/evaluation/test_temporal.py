"""Change over time: closed forms, and a warping error that follows the true motion."""

import cv2
import numpy as np
import pytest

from hia.evaluation.temporal import dtssd, flicker, warping_error


def flat(*levels: int) -> np.ndarray:
    return np.stack([np.full((32, 40, 3), level, np.uint8) for level in levels])


def texture(height: int = 96, width: int = 120) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 3).astype(np.float64)
    return np.clip((soft - soft.mean()) * 6 + 128, 0, 255).astype(np.uint8)


def moving(num_frames: int = 4, step: int = 2) -> np.ndarray:
    """A window that slides over a texture, so that everything in it moves."""
    wide = texture(96, 160)
    return np.stack([wide[:, step * index : step * index + 120] for index in range(num_frames)])


def test_dtssd_is_the_root_of_the_mean_squared_difference_of_changes():
    # Changes of 10 and 0, of 4 and −3: differences of 6 and 3.
    assert dtssd(flat(50, 60, 60), flat(80, 84, 81)) == pytest.approx(np.sqrt((6**2 + 3**2) / 2))


def test_dtssd_does_not_see_what_is_wrong_in_all_frames_alike():
    real = moving()
    darker = (real // 2 + 40).astype(np.uint8)
    assert dtssd(flat(10, 90, 30), flat(60, 140, 80)) == 0
    assert dtssd(real, real) == 0 < dtssd(real, darker)


def test_dtssd_does_not_wrap_at_256():
    assert dtssd(flat(0, 255), flat(255, 0)) == pytest.approx(510)


def test_flicker_is_one_for_a_still_and_falls_with_the_mean_change():
    assert flicker(flat(9, 9, 9)) == 1
    assert flicker(flat(0, 255)) == 0
    assert flicker(flat(10, 20, 50)) == pytest.approx(1 - 20 / 255)


def test_the_true_video_warps_onto_itself_but_for_what_the_flow_misses():
    made, true = warping_error(moving(), moving())
    assert made == true < 1e-3


def test_a_video_that_follows_the_motion_has_less_error_than_one_that_stands_still_or_flickers():
    real = moving()
    still = np.repeat(real[:1], len(real), axis=0)
    flickering = np.stack([frame // (1 + index % 2) for index, frame in enumerate(real)])
    brighter = (real // 2 + 100).astype(np.uint8)
    consistent, true = warping_error(real, brighter)
    assert consistent <= true
    assert warping_error(real, still)[0] > 5 * true
    assert warping_error(real, flickering)[0] > 50 * true


def test_warping_error_is_the_squared_distance_of_colours_in_zero_to_one():
    # Nothing moves in the true video; the generated one jumps by 51 of 255 in all three channels.
    real, made = flat(80, 80), flat(0, 51)
    assert warping_error(real, made)[0] == pytest.approx(3 * 0.2**2)


def test_pixels_that_are_covered_or_leave_the_picture_do_not_count():
    real = moving(2, step=6)
    changed, disturbed = real.copy(), real.copy()
    # The first frame's left 6 columns are not in the second frame, but the 6 beside them are.
    changed[0, :, :4] = 0
    disturbed[0, :, 8:12] = 0
    expected, _ = warping_error(real, real)
    assert warping_error(real, changed)[0] == pytest.approx(expected, rel=0.1)
    assert warping_error(real, disturbed)[0] > 10 * expected


@pytest.mark.parametrize("measure", [dtssd, warping_error])
def test_videos_of_unequal_length_or_size_are_refused(measure):
    with pytest.raises(ValueError, match="unequal number or size"):
        measure(flat(1, 2, 3), flat(1, 2))


def test_one_frame_has_no_changes():
    for measure in (lambda: dtssd(flat(1), flat(2)), lambda: flicker(flat(1)), lambda: warping_error(flat(1), flat(2))):
        with pytest.raises(ValueError, match="at least 2 frames, not 1"):
            measure()


def test_optical_flow_needs_frames_of_some_size_and_finds_it_there():
    small = np.zeros((2, 23, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="at least 24×24 px, not 40×23"):
        warping_error(small, small)
    assert warping_error(flat(0, 0)[:, :24, :24], flat(0, 0)[:, :24, :24]) == (0, 0)
