"""Hand movement and hand sharpness."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d
from scipy.stats import rankdata, spearmanr

from hia.conditions.blur import SharpnessScale, clip_ranks, hand_movement, hand_sharpness, sharpness
from hia.conditions.control import flip_conditions
from hia.conditions.regions import hand_boxes
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import HANDS, LEFT_HAND, NUM_KEYPOINTS, flip_horizontal
from tests.conftest import is_shipped, present

WIDTH, HEIGHT = 512, 896


def moving_person(steps, width=WIDTH, height=HEIGHT):
    """A skeleton moved by the given steps [N − 1, 2] px, all seen."""
    start = np.random.default_rng(0).uniform(0.3, 0.7, (1, NUM_KEYPOINTS, 2)) * (width, height)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    keypoints = start + path[:, None]
    return keypoints, np.ones(keypoints.shape[:2])


def frames_of(path, indices):
    with av.open(path) as container:
        return [
            frame.to_ndarray(format="rgb24")
            for index, frame in enumerate(container.decode(video=0))
            if index in indices
        ]


@pytest.fixture(scope="module")
def hand_crops(sample_data):
    """Real hand crops, uint8 [h, w, 3], of up to four clips."""
    crops = []
    names = ("gesture_man_kitchen", "gesture_woman_bench", "desk_woman_doctor", "talk_man_white_suit")
    for clip in (clips := present(sample_data, *names)):
        sequence = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
        indices = range(5, len(sequence), 5 * len(clips))
        for index, frame in zip(indices, frames_of(sample_data / "clips" / f"{clip}.mp4", indices), strict=True):
            boxes = hand_boxes(sequence.keypoints[index], sequence.scores[index], sequence.width, sequence.height)
            crops += [frame[box.top : box.bottom, box.left : box.right] for box in boxes if box is not None]
    assert len(crops) > 20
    return crops


@pytest.mark.parametrize("fps", [24, 30, 60])
@pytest.mark.parametrize(("width", "height"), [(512, 896), (480, 640)])
def test_movement_of_a_translated_skeleton_is_the_translation(fps, width, height):
    """In shares of the frame's size per 1/30 s, divided by 0.25."""
    steps = np.random.default_rng(1).uniform(-40, 40, (9, 2))
    movement = hand_movement(*moving_person(steps, width, height), width, height, fps)
    expected = steps / (width, height) * fps / 30 / 0.25
    assert movement.shape == (10, 2, 2) and movement.dtype == np.float32
    np.testing.assert_allclose(movement[1:], np.broadcast_to(expected[:, None], (9, 2, 2)), atol=1e-6)


def test_movement_of_the_first_frame_is_that_of_the_second():
    movement = hand_movement(*moving_person(np.array([[8.0, -4.0], [1.0, 1.0]])), WIDTH, HEIGHT, 30)
    np.testing.assert_array_equal(movement[0], movement[1])
    assert movement[0].any()


def test_movement_saturates_at_a_quarter_of_the_frame():
    steps = np.array([[0.26 * WIDTH, -0.26 * HEIGHT], [-0.24 * WIDTH, 0.24 * HEIGHT]])
    movement = hand_movement(*moving_person(steps), WIDTH, HEIGHT, 30)
    np.testing.assert_allclose(movement[1], [[1, -1]] * 2)
    np.testing.assert_allclose(movement[2], [[-0.96, 0.96]] * 2, atol=1e-6)


def test_movement_of_a_single_frame_is_zero():
    movement = hand_movement(*moving_person(np.zeros((0, 2))), WIDTH, HEIGHT, 30)
    np.testing.assert_array_equal(movement, np.zeros((1, 2, 2)))


def test_movement_counts_only_points_seen_in_both_frames():
    keypoints, scores = moving_person(np.array([[10.0, 5.0]]))
    first, second = LEFT_HAND.start, LEFT_HAND.start + 1
    keypoints[0, first], scores[0, first] = -3000, 0.29
    keypoints[1, second], scores[1, second] = 9000, 0.29
    movement = hand_movement(keypoints, scores, WIDTH, HEIGHT, 30)
    np.testing.assert_allclose(movement[1, 0], np.array([10, 5]) / (WIDTH, HEIGHT) / 0.25, atol=1e-6)


def test_movement_is_the_mean_over_the_hands_points():
    keypoints, scores = moving_person(np.zeros((1, 2)))
    shifts = np.random.default_rng(2).uniform(-20, 20, (21, 2))
    keypoints[1, HANDS[1]] += shifts
    movement = hand_movement(keypoints, scores, WIDTH, HEIGHT, 30)
    np.testing.assert_allclose(movement[1, 1], shifts.mean(axis=0) / (WIDTH, HEIGHT) / 0.25, atol=1e-6)
    np.testing.assert_array_equal(movement[1, 0], 0)


def test_movement_of_a_hand_that_is_not_seen_is_zero():
    keypoints, scores = moving_person(np.full((3, 2), 10.0))
    scores[1, LEFT_HAND] = 0
    movement = hand_movement(keypoints, scores, WIDTH, HEIGHT, 30)
    assert movement[:, 0].any(axis=1).tolist() == [False, False, False, True]
    assert movement[:, 1].any(axis=1).all()


@given(st.integers(0, 2**32 - 1))
def test_flipping_the_video_flips_the_movement(seed):
    """v_x → −v_x and hands exchanged, through the keypoints themselves."""
    rng = np.random.default_rng(seed)
    keypoints, scores = rng.uniform(0, WIDTH, (4, NUM_KEYPOINTS, 2)), rng.random((4, NUM_KEYPOINTS))
    movement = hand_movement(keypoints, scores, WIDTH, HEIGHT, 25)
    flipped = hand_movement(*flip_horizontal(keypoints, scores, WIDTH), WIDTH, HEIGHT, 25)
    np.testing.assert_allclose(flipped[:, 0], movement[:, 1] * [-1, 1], atol=1e-6)
    np.testing.assert_allclose(flipped[:, 1], movement[:, 0] * [-1, 1], atol=1e-6)
    np.testing.assert_allclose(flip_conditions(movement, np.zeros((4, 2)))[0], flipped, atol=1e-6)


def test_movement_is_the_one_measured_for_the_sample_clips(sample_data):
    """The clips came with mean shifts in px of the hands, measured by others."""
    compared = 0
    for path in sorted((sample_data / "keypoints").glob("*.npz")):
        sequence, measured = load_keypoints(path), np.load(path)["hand_movement"]
        movement = hand_movement(sequence.keypoints, sequence.scores, sequence.width, sequence.height, sequence.fps)
        expected = np.clip(measured / (sequence.width, sequence.height) * sequence.fps / 30, -0.25, 0.25) / 0.25
        for hand, points in enumerate(HANDS):
            seen = (sequence.scores[:, points] >= 0.3).all(axis=1)
            both = np.flatnonzero(seen[1:] & seen[:-1]) + 1
            np.testing.assert_allclose(movement[both, hand], expected[both, hand], atol=1e-5)
            compared += len(both)
    assert compared > (350 if is_shipped(sample_data) else 500)


@pytest.mark.parametrize(
    ("keypoints", "scores", "size", "fps"),
    [
        ((3, 17, 2), (3, 17), (512, 896), 30),
        ((0, 133, 2), (0, 133), (512, 896), 30),
        ((3, 133, 2), (2, 133), (512, 896), 30),
        ((3, 133, 2), (3, 133), (0, 896), 30),
        ((3, 133, 2), (3, 133), (512, 896), 0),
        ((3, 133, 2), (3, 133), (512, 896), float("nan")),
    ],
)
def test_movement_refuses_other_layouts_sizes_and_rates(keypoints, scores, size, fps):
    with pytest.raises(ValueError, match="must be"):
        hand_movement(np.zeros(keypoints), np.zeros(scores), *size, fps)


def test_sharpness_is_the_variance_of_the_laplacian():
    """Against a plain convolution, on a crop that needs no resizing."""
    crop = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    grey = crop @ np.array([0.299, 0.587, 0.114])
    padded = np.pad(grey, 1, mode="reflect")
    laplacian = convolve2d(padded, [[0, 1, 0], [1, -4, 1], [0, 1, 0]], mode="valid")
    assert sharpness(crop) == pytest.approx(laplacian.var(), rel=1e-4)


def test_sharpness_of_an_even_crop_is_zero():
    assert sharpness(np.full((40, 70, 3), 90, np.uint8)) == pytest.approx(0, abs=1e-6)


def test_sharpness_of_a_crop_and_of_its_mirror_image_are_equal(hand_crops):
    for crop in hand_crops:
        assert sharpness(np.ascontiguousarray(crop[:, ::-1])) == pytest.approx(sharpness(crop), rel=1e-3)


def test_blurring_lowers_the_sharpness_of_real_hands(hand_crops):
    for crop in hand_crops:
        values = [sharpness(crop)] + [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (1, 2, 4)]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.5 * values[0]


def test_sharpness_of_motion_blurred_hands_is_lower(sample_data):
    """The rendered dance exists with and without motion blur; fast hands differ, and the faster the more."""
    sequence = load_keypoints(sample_data / "rendered" / "anny_a_gt.npz")
    movement = hand_movement(sequence.keypoints, sequence.scores, sequence.width, sequence.height, sequence.fps)
    indices = range(0, len(sequence), 4)
    blurred, sharp = (
        np.array(
            [
                hand_sharpness(frame, sequence.keypoints[index], sequence.scores[index])
                for index, frame in zip(
                    indices, frames_of(sample_data / "rendered" / f"anny_a_{kind}.mp4", indices), strict=True
                )
            ]
        )
        for kind in ("blur", "sharp")
    )
    speed = np.hypot(*(movement[::4].transpose(2, 0, 1) * [[[WIDTH]], [[HEIGHT]]]))
    loss = np.log(sharp / blurred)
    assert np.median(loss[speed > np.median(speed)]) > 0.5
    assert spearmanr(speed.ravel(), loss.ravel()).statistic > 0.5


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_sharpness_refuses(crop):
    with pytest.raises(ValueError, match="uint8"):
        sharpness(crop)


def test_sharpness_of_a_hand_is_that_of_its_box_and_nan_without_one():
    frame = np.random.default_rng(0).integers(0, 256, (200, 100, 3), dtype=np.uint8)
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    keypoints[HANDS[1]] = np.random.default_rng(1).uniform(40, 60, (21, 2))
    scores[HANDS[1]] = 1
    left, right = hand_sharpness(frame, keypoints, scores)
    box = hand_boxes(keypoints, scores, 100, 200)[1]
    assert np.isnan(left)
    assert right == pytest.approx(sharpness(frame[box.top : box.bottom, box.left : box.right]))


samples = np.random.default_rng(0).lognormal(4, 1, (300, 2))


def test_scale_holds_the_percentiles_of_log1p():
    raw = samples.copy()
    raw[::3, 0] = np.nan
    scale = SharpnessScale.from_samples(raw)
    logs = np.sort(np.log1p(raw[~np.isnan(raw)]))
    for value, percent in ((scale.p5, 5), (scale.p75, 75), (scale.p95, 95)):
        assert np.mean(logs <= value) == pytest.approx(percent / 100, abs=2 / len(logs))


def test_normalised_sharpness_runs_from_p5_to_p95():
    scale = SharpnessScale(p5=1.0, p75=3.0, p95=5.0)
    raw = np.expm1([0.5, 1.0, 2.0, 5.0, 7.0])
    np.testing.assert_allclose(scale.normalise(raw), [0, 0, 0.25, 1, 1], atol=1e-6)
    assert scale.normalise(raw).dtype == np.float32


def test_normalised_nan_stays_nan():
    assert np.isnan(SharpnessScale(1.0, 3.0, 5.0).normalise(np.array([[np.nan, 3]]))).tolist() == [[True, False]]


def test_default_is_the_normalised_p75():
    scale = SharpnessScale.from_samples(samples)
    assert scale.default == pytest.approx(float(scale.normalise(np.expm1(np.array([scale.p75])))[0]), abs=1e-6)
    assert 0 < scale.default < 1


@pytest.mark.parametrize("raw", [np.full((50, 2), np.nan), np.r_[np.arange(19.0), np.full(30, np.nan)], np.array([])])
def test_scale_refuses_too_few_hands(raw):
    with pytest.raises(ValueError, match="at least 20 hands"):
        SharpnessScale.from_samples(raw)


def test_scale_refuses_hands_that_are_all_alike():
    with pytest.raises(ValueError, match="rise"):
        SharpnessScale.from_samples(np.full((50, 2), 7.0))


@pytest.mark.parametrize("percentiles", [(3, 2, 5), (1, 6, 5), (1, 1, 1), (1, 2, float("inf")), (float("nan"), 1, 2)])
def test_scale_refuses_percentiles_out_of_order(percentiles):
    with pytest.raises(ValueError):
        SharpnessScale(*percentiles)


@given(st.lists(st.lists(st.sampled_from([np.nan, 0.0, 1.5, 1.5, 30.0, 870.0]), min_size=2, max_size=2), max_size=20))
def test_clip_ranks_are_average_ranks_over_both_hands(rows):
    raw = np.array(rows).reshape(-1, 2)
    ranks = clip_ranks(raw)
    known = ~np.isnan(raw)
    assert np.isnan(ranks).tolist() == (~known).tolist() and ranks.shape == raw.shape
    if known.sum() > 1:
        expected = (rankdata(raw[known], method="average") - 1) / (known.sum() - 1)
        np.testing.assert_allclose(ranks[known], expected, atol=1e-6)
    else:
        assert (ranks[known] == 0.5).all()
