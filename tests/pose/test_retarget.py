"""Fitting a driving skeleton to a reference person."""

from itertools import pairwise

import numpy as np
import pytest

from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FACE, HANDS, JOINTS, NUM_KEYPOINTS, KeypointSequence
from hia.pose.retarget import align_to_reference
from tests.conftest import present

LEFT_ARM = ("left_shoulder", "left_elbow", "left_wrist")
RIGHT_ARM = ("right_shoulder", "right_elbow", "right_wrist")


def turned(vector, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * vector[0] - sine * vector[1], sine * vector[0] + cosine * vector[1]], axis=-1)


def dancer(frames=12, size=1.0, arms=1.0, head=1.0, hands=1.0):
    """A puppet whose bones keep their lengths while its arms and legs swing and it walks: [frames, 133, 2] px."""
    time = np.linspace(0, 3, frames)
    keypoints = np.zeros((frames, NUM_KEYPOINTS, 2))
    hip = np.stack([250 + 30 * np.sin(time), 480 + 8 * np.cos(2 * time)], axis=-1)
    neck = hip + size * turned((0, -150), 0.1 * np.sin(time))
    place = {"nose": neck + size * turned((4, -60), 0.2 * np.cos(time))}
    for side, sign in (("left", 1), ("right", -1)):
        swing = sign * np.sin(time + sign)
        place[f"{side}_shoulder"] = neck + size * np.array([sign * 55, 0])
        place[f"{side}_elbow"] = place[f"{side}_shoulder"] + size * arms * turned((0, 80), swing)
        place[f"{side}_wrist"] = place[f"{side}_elbow"] + size * arms * turned((0, 70), 1.5 * swing)
        place[f"{side}_hip"] = hip + size * np.array([sign * 35, 0])
        place[f"{side}_knee"] = place[f"{side}_hip"] + size * turned((0, 120), 0.4 * swing)
        place[f"{side}_ankle"] = place[f"{side}_knee"] + size * turned((0, 110), 0.2 * swing)
        for index, part in enumerate(("big_toe", "small_toe", "heel")):
            place[f"{side}_{part}"] = place[f"{side}_ankle"] + size * np.array([sign * (20 - 12 * index), 15])
        for index, part in enumerate(("eye", "ear"), start=1):
            place[f"{side}_{part}"] = place["nose"] + size * head * np.array([sign * 12 * index, -10])
    for name, path in place.items():
        keypoints[:, JOINTS[name]] = path
    rng = np.random.default_rng(0)
    keypoints[:, FACE] = place["nose"][:, None] + size * head * rng.uniform(-30, 30, (68, 2))
    for side, hand in zip(("left", "right"), HANDS, strict=True):
        keypoints[:, hand] = place[f"{side}_wrist"][:, None] + size * hands * rng.uniform(-20, 20, (21, 2))
    return keypoints


def sequence(keypoints, scores=None, width=512, height=896):
    scores = np.ones(keypoints.shape[:2]) if scores is None else scores
    return KeypointSequence(keypoints, scores, width, height, 30)


def aligned(driving, reference, scores=None, reference_scores=None):
    """Alignment of raw keypoints [N, 133, 2] to those of one reference frame [133, 2]; returns keypoints."""
    reference_scores = np.ones(NUM_KEYPOINTS) if reference_scores is None else reference_scores
    return align_to_reference(sequence(driving, scores), reference, reference_scores, 512, 896).keypoints


def lengths(keypoints, *names):
    return [
        np.hypot(*(keypoints[..., JOINTS[start], :] - keypoints[..., JOINTS[end], :]).T)
        for start, end in pairwise(names)
    ]


def test_person_aligned_to_itself_stays():
    driving = dancer()
    np.testing.assert_allclose(aligned(driving, driving[0]), driving, atol=0.05)


@pytest.mark.parametrize("root", ["hips", "neck"])
@pytest.mark.parametrize("scale", [0.4, 1.7])
def test_scaled_and_moved_person_is_mapped_back(root, scale):
    driving = dancer()
    scores = np.ones(driving.shape[:2])
    if root == "neck":
        scores[:, [JOINTS["left_hip"], JOINTS["right_knee"]]] = 0
    moved = driving * scale + (37, -20)
    np.testing.assert_allclose(aligned(moved, driving[0], scores), driving, atol=0.05)


def test_result_is_in_the_references_frame_at_the_driving_rate():
    driving = KeypointSequence(dancer(), np.ones((12, NUM_KEYPOINTS)), 512, 896, 24)
    result = align_to_reference(driving, dancer()[0], np.ones(NUM_KEYPOINTS), 300, 400)
    assert (result.width, result.height, result.fps, len(result)) == (300, 400, 24, 12)


def test_motion_starts_at_the_references_hips():
    reference = dancer(size=0.6)[0] + (40, 100)
    result = aligned(dancer(), reference)
    hips = [JOINTS["left_hip"], JOINTS["right_hip"]]
    np.testing.assert_allclose(result[0, hips].mean(axis=0), reference[hips].mean(axis=0), atol=0.01)


def test_root_motion_is_scaled_with_the_person():
    driving, hips = dancer(), [JOINTS["left_hip"], JOINTS["right_hip"]]
    path = aligned(driving, dancer(size=0.5)[0])[:, hips].mean(axis=1)
    original = driving[:, hips].mean(axis=1)
    np.testing.assert_allclose(path - path[0], 0.5 * (original - original[0]), atol=0.01)


def test_limbs_take_the_references_lengths():
    reference = dancer(size=0.8, arms=1.3)[0]
    result = aligned(dancer(), reference)
    for arm in (LEFT_ARM, RIGHT_ARM, ("left_hip", "left_knee", "left_ankle")):
        for length, expected in zip(lengths(result, *arm), lengths(reference, *arm), strict=True):
            np.testing.assert_allclose(length, expected, rtol=1e-3)


def test_left_and_right_share_their_mean_ratio():
    driving, reference = dancer(), dancer()[0]
    forearm = reference[JOINTS["left_wrist"]] - reference[JOINTS["left_elbow"]]
    for point in (JOINTS["left_wrist"], *range(HANDS[0].start, HANDS[0].stop)):
        reference[point] += 0.2 * forearm
    result = aligned(driving, reference)
    for names in (LEFT_ARM, RIGHT_ARM):
        np.testing.assert_allclose(lengths(result, *names)[1], 1.1 * 70, rtol=1e-3)


@pytest.mark.parametrize(
    ("part", "points", "centre"),
    [("head", FACE, "nose"), ("hands", HANDS[0], "left_wrist"), ("hands", HANDS[1], "right_wrist")],
)
def test_face_and_hands_are_scaled_about_nose_and_wrist(part, points, centre):
    driving, result = dancer(), aligned(dancer(), dancer(**{part: 1.3})[0])
    around, original = (keypoints[:, points] - keypoints[:, None, JOINTS[centre]] for keypoints in (result, driving))
    np.testing.assert_allclose(around, 1.3 * original, atol=0.05)
    np.testing.assert_allclose(result[:, JOINTS[centre]], driving[:, JOINTS[centre]], atol=0.05)


def test_a_fist_of_the_reference_does_not_shrink_the_hands():
    reference = dancer()[0]
    for side, hand in zip(("left", "right"), HANDS, strict=True):
        tips = [hand.start + 4 * finger + joint for finger in range(1, 6) for joint in (-1, 0)]
        reference[tips] = reference[JOINTS[f"{side}_wrist"]] + np.array([1, 2])
    np.testing.assert_allclose(aligned(dancer(), reference), dancer(), atol=0.05)


def test_bones_keep_their_directions_on_real_motion(sample_data):
    """Arms, legs and torso of a rendered dance, given to the other rendered person."""
    driving = load_keypoints(sample_data / "rendered" / "anny_a_gt.npz")
    other = load_keypoints(sample_data / "rendered" / "anny_b_gt.npz")
    result = align_to_reference(driving, other.keypoints[5], other.scores[5], other.width, other.height)
    for names in (LEFT_ARM, RIGHT_ARM, ("left_hip", "left_knee", "left_ankle"), ("right_hip", "right_knee")):
        for start, end in pairwise(names):
            before, after = (
                s.keypoints[:, JOINTS[end]].astype(float) - s.keypoints[:, JOINTS[start]] for s in (driving, result)
            )
            cosine = (before * after).sum(axis=1) / np.hypot(*before.T) / np.hypot(*after.T)
            assert cosine.min() > 0.9999


def test_real_person_aligned_to_their_first_frame_keeps_size_and_place(sample_data):
    tolerances = {"gesture_man_kitchen": 0.04, "sign_woman_home": 0.04, "juggle_man_park": 0.06}
    for clip in present(sample_data, *tolerances):
        driving = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
        result = align_to_reference(driving, driving.keypoints[0], driving.scores[0], driving.width, driving.height)
        body = driving.scores[:, :17] >= 0.3
        error = np.hypot(*(result.keypoints - driving.keypoints)[:, :17][body].T)
        assert np.median(error) < tolerances[clip] * driving.height


def test_foreshortening_is_kept():
    """An arm that points at the camera in most frames is short in these frames afterwards too."""
    driving = dancer(frames=40)
    shoulder, elbow = JOINTS["left_shoulder"], JOINTS["left_elbow"]
    shift = 0.7 * (driving[:30, shoulder] - driving[:30, elbow])
    for point in (elbow, JOINTS["left_wrist"], *range(HANDS[0].start, HANDS[0].stop)):
        driving[:30, point] += shift
    upper_arm = lengths(aligned(driving, dancer(size=0.5)[0]), *LEFT_ARM)[0]
    np.testing.assert_allclose(upper_arm[:30], 0.3 * 40, rtol=0.02)
    np.testing.assert_allclose(upper_arm[30:], 40, rtol=0.02)


def test_a_person_who_walks_towards_the_camera_does_so_in_the_references_size():
    """Not in that of the closest approach, at which all limbs are longest."""
    zoom = np.linspace(0.7, 1.3, 31)
    driving = zoom[:, None, None] * dancer(frames=31)
    for names in (LEFT_ARM, ("right_hip", "right_knee", "right_ankle")):
        result = lengths(aligned(driving, dancer(size=0.5)[0]), *names)
        for length, original in zip(result, lengths(dancer(size=0.5), *names), strict=True):
            np.testing.assert_allclose(length, zoom * original[0], rtol=0.01)


def test_foreshortened_limb_of_the_reference_does_not_cripple_the_person():
    reference = dancer()[0]
    for elbow, wrist, hand in (("left_elbow", "left_wrist", HANDS[0]), ("right_elbow", "right_wrist", HANDS[1])):
        shift = 0.95 * (reference[JOINTS[elbow]] - reference[JOINTS[wrist]])
        for point in (JOINTS[wrist], *range(hand.start, hand.stop)):
            reference[point] += shift
    forearm = lengths(aligned(dancer(), reference), *LEFT_ARM)[1]
    np.testing.assert_allclose(forearm, 70, rtol=0.01, err_msg="it says nothing of proportions: the overall scale")


def test_a_flickering_wrist_does_not_make_its_hand_jump():
    driving, scores = dancer(), np.ones((12, NUM_KEYPOINTS))
    scores[3::2, JOINTS["left_wrist"]] = 0
    target = (dancer(size=0.6, arms=1.3)[0], np.ones(NUM_KEYPOINTS), 512, 896)
    steady, flickering = (
        align_to_reference(sequence(driving, given), *target).keypoints for given in (np.ones_like(scores), scores)
    )
    hand = np.s_[:, HANDS[0]]
    moved = np.abs(np.diff(steady[hand], axis=0)).max()
    np.testing.assert_allclose(flickering[hand], steady[hand], atol=0.25 * moved)


def test_limbs_the_reference_does_not_show_take_the_overall_scale():
    reference = dancer(size=0.7)[0]
    hidden = np.ones(NUM_KEYPOINTS)
    hidden[[JOINTS[f"{side}_{part}"] for side in ("left", "right") for part in ("knee", "ankle")]] = 0
    hidden[HANDS[0]] = hidden[HANDS[1]] = 0
    result = aligned(dancer(), reference, reference_scores=hidden)
    np.testing.assert_allclose(lengths(result, "left_hip", "left_knee", "left_ankle")[1], 0.7 * 110, rtol=1e-3)
    hand = result[:, HANDS[0]] - result[:, None, JOINTS["left_wrist"]]
    original = dancer()[:, HANDS[0]] - dancer()[:, None, JOINTS["left_wrist"]]
    np.testing.assert_allclose(hand, 0.7 * original, atol=0.05)


def test_scores_stay_and_missing_points_carry_nothing():
    """Garbage at a missing elbow, or at missing hips in one frame, must not move what is seen."""
    driving, scores = dancer(), np.ones((12, NUM_KEYPOINTS))
    missing = [JOINTS["left_elbow"], *range(17, 23)]
    scores[:, missing] = 0
    garbage = driving.copy()
    garbage[:, missing] = 5000
    result = align_to_reference(sequence(garbage, scores), dancer(size=0.5)[0], np.ones(NUM_KEYPOINTS), 512, 896)
    np.testing.assert_array_equal(result.scores, scores)
    expected = aligned(driving, dancer(size=0.5)[0])
    seen = scores[0] > 0
    np.testing.assert_allclose(result.keypoints[:, seen], expected[:, seen], atol=0.05)


def test_frames_without_hips_follow_the_frames_around_them():
    driving, scores = dancer(frames=31), np.ones((31, NUM_KEYPOINTS))
    garbage = driving.copy()
    hips = [JOINTS["left_hip"], JOINTS["right_hip"]]
    garbage[10, hips], scores[10, hips] = -4000, 0
    result, expected = (aligned(points, dancer(size=0.5)[0], scores) for points in (garbage, driving))
    nose = JOINTS["nose"]
    np.testing.assert_allclose(result[10, nose], expected[10, nose], atol=1)


@pytest.mark.parametrize("who", ["driving", "reference"])
def test_person_without_hips_and_shoulders_is_refused(who):
    hidden = np.ones(NUM_KEYPOINTS)
    hidden[[JOINTS["left_hip"], JOINTS["right_shoulder"]]] = 0
    scores = {"driving": np.tile(hidden, (12, 1)), "reference": None}[who]
    reference_scores = {"driving": None, "reference": hidden}[who]
    message = "0% of the frames" if who == "driving" else "reference shows neither"
    with pytest.raises(ValueError, match=message):
        aligned(dancer(), dancer()[0], scores, reference_scores)


def test_reference_at_nan_is_refused():
    reference = dancer()[0]
    reference[3] = np.nan
    with pytest.raises(ValueError, match="keypoint 3"):
        aligned(dancer(), reference)
