"""The picture of a skeleton."""

import colorsys

import numpy as np
import pytest

from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FACE, FLIP_TABLE, HANDS, JOINTS, NUM_KEYPOINTS, flip_horizontal
from hia.pose.render import OPENPOSE, render_skeleton

WIDTH, HEIGHT = 256, 448


def random_person(seed, spread=1.0):
    """Points anywhere in the frame and around it: everything overlaps with everything."""
    rng = np.random.default_rng(seed)
    middle, extent = np.array([WIDTH, HEIGHT]) / 2, np.array([WIDTH, HEIGHT]) * spread
    return middle + rng.uniform(-0.6, 0.6, (NUM_KEYPOINTS, 2)) * extent, rng.uniform(0.2, 1, NUM_KEYPOINTS)


def only(**places):
    """A person of whom only some joints are seen."""
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    for name, place in places.items():
        keypoints[JOINTS[name]], scores[JOINTS[name]] = place, 1
    return keypoints, scores


def assert_mirrors(keypoints, scores, width, height, **options):
    flipped = render_skeleton(*flip_horizontal(keypoints, scores, width), width, height, **options)
    exchanged = render_skeleton(keypoints, scores, width, height, palette=OPENPOSE.mirrored(), **options)
    assert flipped.max() > 0.5
    np.testing.assert_allclose(flipped, exchanged[:, :, ::-1], atol=1e-5, rtol=0)


def test_picture_is_rgb_in_0_to_1_of_the_asked_size():
    picture = render_skeleton(*random_person(0), WIDTH, HEIGHT, feet=True)
    assert picture.shape == (3, HEIGHT, WIDTH) and picture.dtype == np.float32
    assert picture.min() >= 0 and picture.max() <= 1 + 1e-6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 3.0])
def test_mirrored_random_person_gives_the_mirrored_picture(seed, spread):
    assert_mirrors(*random_person(seed, spread), WIDTH, HEIGHT, feet=True)


@pytest.mark.parametrize("scale", [1, 0.253, 0.125])
def test_mirrored_real_people_give_the_mirrored_picture(sample_data, scale):
    for path in [*(sample_data / "keypoints").glob("*.npz"), *sample_data.glob("rendered/*_gt.npz")]:
        sequence = load_keypoints(path)
        width, height = round(sequence.width * scale), round(sequence.height * scale)
        keypoints = sequence.resized(width, height).keypoints.astype(np.float64)
        for frame in range(0, len(sequence), 40):
            assert_mirrors(keypoints[frame], sequence.scores[frame], width, height)


@pytest.mark.parametrize("seed", range(5))
def test_neither_side_lies_on_top(seed):
    """Exchanging left and right together with their colours changes nothing, also where limbs cross."""
    keypoints, scores = random_person(seed, spread=0.3)
    exchanged = render_skeleton(keypoints[FLIP_TABLE], scores[FLIP_TABLE], WIDTH, HEIGHT, palette=OPENPOSE.mirrored())
    np.testing.assert_allclose(exchanged, render_skeleton(keypoints, scores, WIDTH, HEIGHT), atol=1e-5)


def test_crossing_limbs_of_both_sides_share_their_pixels():
    keypoints, scores = only(left_elbow=(60, 100), left_wrist=(140, 180), right_elbow=(140, 100), right_wrist=(60, 180))
    middle = render_skeleton(keypoints, scores, 256, 256)[:, 140, 100]
    left, right = (np.array(OPENPOSE.limbs[index]) for index in (5, 3))
    np.testing.assert_allclose(middle, 0.6 * (left + right) / 2, atol=1e-4)


def test_palette_is_that_of_openpose():
    published = [
        *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
        *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
        *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
    ]
    np.testing.assert_allclose(np.array(OPENPOSE.points) * 255, published, atol=1e-9)
    np.testing.assert_allclose(np.array(OPENPOSE.limbs) * 255, published[:17], atol=1e-9)


def test_mirrored_palette_exchanges_wrists_and_forearms_and_keeps_the_neck():
    mirrored = OPENPOSE.mirrored()
    assert mirrored.points[4] == OPENPOSE.points[7] and mirrored.points[1] == OPENPOSE.points[1]
    assert mirrored.limbs[3] == OPENPOSE.limbs[5] and mirrored.limbs[12] == OPENPOSE.limbs[12]
    assert mirrored.mirrored() == OPENPOSE


@pytest.mark.parametrize(
    ("start", "end", "limb", "colour"),
    [
        ("right_shoulder", "right_elbow", 2, (255, 170, 0)),
        ("left_elbow", "left_wrist", 5, (85, 255, 0)),
        ("right_hip", "right_knee", 7, (0, 255, 85)),
        ("left_knee", "left_ankle", 11, (0, 85, 255)),
        ("nose", "right_eye", 13, (85, 0, 255)),
        ("left_eye", "left_ear", 16, (255, 0, 170)),
    ],
)
def test_limb_is_an_ellipse_in_its_colour_at_60_percent(start, end, limb, colour):
    """The middle has the colour; 9 px wide at 512 px, tapering: all pixels sum to the area π·a·b of the ellipse."""
    picture = render_skeleton(*only(**{start: (150, 256), end: (350, 256)}), 512, 512)
    np.testing.assert_allclose(picture[:, 256, 250] * 255, np.array(colour) * 0.6, atol=0.1)
    assert (picture[:, 252:261, 250].max(axis=0) > 0.1).all() and picture[:, [250, 262], 250].max() == 0
    assert picture[:, 260, 170].max() == 0
    channel = int(np.argmax(colour))
    between_discs = picture[channel, :, 155:346].sum() / (0.6 * colour[channel] / 255)
    cut_off = 0.98  # the part of the ellipse's area that lies more than 5 px from its ends
    assert between_discs == pytest.approx(np.pi * 100 * 4 * cut_off, rel=0.02)


@pytest.mark.parametrize("offset", [0, 0.25, 0.5, 0.75])
def test_edges_fall_from_full_to_none_over_one_pixel(offset):
    """A pixel is covered by 0.5 minus the distance of its centre to the outline."""
    keypoints, scores = only(right_knee=(150, 256 + offset), right_ankle=(350, 256 + offset))
    column = render_skeleton(keypoints, scores, 512, 512)[1, :, 250] / (0.6 * OPENPOSE.limbs[8][1])
    np.testing.assert_allclose(column[258:264], np.clip(4.5 + offset - np.arange(2, 8), 0, 1), atol=0.05)


def test_joint_is_a_disc_of_radius_4_at_512_in_full_colour():
    picture = render_skeleton(*only(left_wrist=(100.3, 200.7)), 512, 896)
    np.testing.assert_allclose(picture[:, 201, 100], OPENPOSE.points[7], atol=1e-6)
    assert picture.max(axis=0).sum() == pytest.approx(np.pi * 4**2, rel=0.02)


def test_neck_is_the_middle_of_both_shoulders():
    picture = render_skeleton(*only(left_shoulder=(300, 100), right_shoulder=(200, 120)), 512, 512)
    np.testing.assert_allclose(picture[:, 110, 250], OPENPOSE.points[1], atol=1e-6)


def test_no_neck_with_one_shoulder():
    one = render_skeleton(*only(left_shoulder=(300, 100), nose=(250, 50)), 512, 512)
    assert one[:, 60:90].max() == 0


def test_points_below_the_threshold_are_not_drawn():
    keypoints, scores = random_person(3)
    hidden = scores.copy()
    hidden[::2] = 0.29
    moved = keypoints.copy()
    moved[::2] = 20
    np.testing.assert_array_equal(
        render_skeleton(keypoints, hidden, WIDTH, HEIGHT), render_skeleton(moved, hidden, WIDTH, HEIGHT)
    )
    assert render_skeleton(keypoints, np.full(NUM_KEYPOINTS, 0.29), WIDTH, HEIGHT).max() == 0


def test_score_of_exactly_the_threshold_is_drawn():
    keypoints, scores = only(nose=(50, 50))
    assert render_skeleton(keypoints, np.float32(0.3) * scores.astype(np.float32), 100, 100).max() == 1


def test_hand_has_blue_joints_on_thin_bones_around_the_colour_wheel():
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    hand = HANDS[1]
    for finger in range(5):
        for joint in range(4):
            keypoints[hand.start + 1 + 4 * finger + joint] = (120 + 60 * finger, 300 - 60 * joint)
    keypoints[hand.start], scores[hand] = (240, 480), 1
    picture = render_skeleton(keypoints, scores, 512, 512)
    for finger in range(5):
        x = 120 + 60 * finger
        np.testing.assert_allclose(picture[:, 240, x], (0, 0, 1), atol=1e-6)
        np.testing.assert_allclose(picture[2, 114:120, x], [0, 0, 0.5, 1, 1, 1], atol=1e-6)
        np.testing.assert_allclose(picture[:, 270, x], colorsys.hsv_to_rgb((4 * finger + 1) / 20, 1, 1), atol=1e-6)
        assert picture[:, 270, x - 1 : x + 2].max(axis=0).sum() == pytest.approx(2)


def test_face_is_white_dots_of_radius_3_at_512():
    keypoints, scores = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    keypoints[FACE] = np.stack(np.meshgrid(np.arange(17), np.arange(4)), axis=-1).reshape(-1, 2) * 20 + 50
    scores[FACE] = 1
    picture = render_skeleton(keypoints, scores, 512, 512)
    np.testing.assert_array_equal(picture[0], picture[2])
    assert picture[:, 50, 50].min() == 1
    assert picture[0].sum() == pytest.approx(68 * np.pi * 9, rel=0.02)


def test_feet_are_drawn_in_their_ankles_colour_only_when_asked():
    keypoints, scores = only(left_ankle=(100, 100), left_big_toe=(100, 200), left_heel=(60, 120))
    np.testing.assert_array_equal(
        render_skeleton(keypoints, scores, 512, 512),
        render_skeleton(*only(left_ankle=(100, 100)), 512, 512),
    )
    picture = render_skeleton(keypoints, scores, 512, 512, feet=True)
    np.testing.assert_allclose(picture[:, 150, 100], np.array(OPENPOSE.points[13]) * 0.6, atol=1e-6)
    for column, row in ((100, 200), (60, 120)):
        np.testing.assert_allclose(picture[:, row, column], OPENPOSE.points[13], atol=1e-6)
    np.testing.assert_allclose(picture[:, 110, 80], np.array(OPENPOSE.points[13]) * 0.6, atol=1e-6)


def test_strokes_scale_with_the_picture():
    """Half the size shows the same picture: each of its pixels is the mean of the four it stands for."""
    keypoints, scores = random_person(5)
    large = render_skeleton(keypoints * 4 + 1.5, scores, WIDTH * 4, HEIGHT * 4)
    small = render_skeleton(keypoints * 2 + 0.5, scores, WIDTH * 2, HEIGHT * 2)
    means = large.reshape(3, HEIGHT * 2, 2, WIDTH * 2, 2).mean(axis=(2, 4))
    assert np.abs(means - small).mean() < 0.004
    assert np.abs(means - small).max() < 0.6


def test_small_pictures_still_show_every_limb():
    keypoints, scores = only(
        left_shoulder=(40.5, 30), right_shoulder=(20.5, 30), left_hip=(36.5, 60), right_hip=(24.5, 60)
    )
    picture = render_skeleton(keypoints, scores, 64, 112)
    assert picture[:, 45].max(axis=0).max() > 0.5
    assert (picture[:, 30:60].max(axis=(0, 2)) > 0.3).all()


def test_limb_that_leaves_the_picture_is_drawn_up_to_its_edge():
    inside, outside = (100.0, 50.0), (-150.0, 30.0)
    cut = render_skeleton(*only(left_elbow=inside, left_wrist=outside), 128, 128)
    shift = np.array([200.0, 0])
    whole = render_skeleton(*only(left_elbow=inside + shift, left_wrist=outside + shift), 128 + 300, 128)
    np.testing.assert_allclose(cut, whole[:, :, 200:328], atol=1e-5)
    assert cut[:, :, 0].max() > 0.5


def test_limb_whose_ends_both_lie_outside_crosses_the_picture():
    picture = render_skeleton(*only(left_elbow=(-300, 64), left_wrist=(400, 64)), 128, 128)
    np.testing.assert_allclose(picture[:, 64, 60], np.array(OPENPOSE.limbs[5]) * 0.6, atol=1e-4)


@pytest.mark.parametrize("far", [1e4, 1e9, 1e30, 3e38, -3e38])
def test_huge_coordinates_neither_crash_nor_fill_the_memory(far):
    keypoints, scores = random_person(7)
    keypoints, scores = keypoints.astype(np.float32), np.ones(NUM_KEYPOINTS, np.float32)
    keypoints[::3] = far, far / 3
    keypoints[1::3] = -far / 5, far
    with np.errstate(over="raise", invalid="raise"):
        picture = render_skeleton(keypoints, scores, 64, 112, feet=True)
    assert np.isfinite(picture).all()


def test_person_outside_the_picture_leaves_it_black():
    keypoints, scores = random_person(8)
    assert render_skeleton(keypoints + 5000, scores, WIDTH, HEIGHT).max() == 0


def test_limbs_without_length_are_discs():
    keypoints, scores = np.full((NUM_KEYPOINTS, 2), 50.0), np.ones(NUM_KEYPOINTS)
    picture = render_skeleton(keypoints, scores, 512, 512, feet=True)
    assert np.isfinite(picture).all()
    rows, columns = np.nonzero(picture.max(axis=0))
    assert min(rows.min(), columns.min()) >= 44 and max(rows.max(), columns.max()) <= 56


def test_scored_point_at_nan_is_refused():
    keypoints, scores = random_person(9)
    keypoints[40, 1], scores[40] = np.nan, 0.9
    with pytest.raises(ValueError, match="keypoint 40"):
        render_skeleton(keypoints, scores, WIDTH, HEIGHT)


def test_other_layouts_are_refused():
    with pytest.raises(ValueError, match=r"\[17, 2\]"):
        render_skeleton(np.zeros((17, 2)), np.zeros(17), WIDTH, HEIGHT)
