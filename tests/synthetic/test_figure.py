"""The dancers' body and motion: bones that keep their lengths, limbs that reach, motion without jumps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hia.pose.keypoints import HANDS, JOINTS
from hia.synthetic.appearance import Proportions, random_appearance
from hia.synthetic.casting import FRAMINGS, cast_dancer
from hia.synthetic.figure import BONE, BONES, SIDES, pose_figure, rest_positions
from hia.synthetic.keypoints import keypoints_in_space
from hia.synthetic.kinematics import LARGEST_STRETCH, Pulses, Track, bend_limb, carry, rotation, turn, unit
from hia.synthetic.motion import choreograph
from hia.synthetic.render import expressions_at

LINKS = [
    *(("pelvis", "spine"), ("spine", "chest"), ("chest", "neck"), ("neck", "head")),
    *(
        (f"{side}_{upper}", f"{side}_{lower}")
        for side in SIDES
        for upper, lower in (
            *(("clavicle", "upper_arm"), ("upper_arm", "forearm"), ("forearm", "hand"), ("hand", "index1")),
            *(("index1", "index2"), ("thumb2", "thumb3"), ("thigh", "shin"), ("shin", "foot"), ("foot", "toes")),
        )
    ),
]


@pytest.fixture(scope="module")
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module", params=["full", "knees", "half"])
def danced(request):
    """A body, its dance sampled at 240 Hz, and the pose at each sample."""
    generator = np.random.default_rng(len(request.param))
    body = random_appearance(generator).body
    dance = choreograph(generator, body, FRAMINGS[request.param].style, 2.0)
    channels = dance.at(np.arange(480) / 240)
    return body, channels, pose_figure(body, channels)


@pytest.mark.parametrize(("upper", "lower"), LINKS)
def test_bones_keep_their_lengths_while_dancing(danced, upper, lower):
    _, _, pose = danced
    lengths = np.linalg.norm(pose.positions[:, BONE[upper]] - pose.positions[:, BONE[lower]], axis=1)
    at_rest = np.linalg.norm(pose.rest[BONE[upper]] - pose.rest[BONE[lower]])
    assert_allclose(lengths, at_rest, rtol=1e-9)


def test_all_rotations_are_rotations(danced):
    _, _, pose = danced
    squared = pose.rotations @ np.swapaxes(pose.rotations, -1, -2)
    assert_allclose(squared, np.broadcast_to(np.eye(3), squared.shape), atol=1e-9)
    assert_allclose(np.linalg.det(pose.rotations), 1, atol=1e-9)


def test_nothing_jumps(danced):
    """At 240 Hz no joint moves more than a tenth of a metre per sample, nor changes its step by more than a third."""
    _, _, pose = danced
    steps = np.diff(pose.positions, axis=0)
    assert np.linalg.norm(steps, axis=-1).max() < 0.10
    assert np.linalg.norm(np.diff(steps, axis=0), axis=-1).max() < 0.033


def test_hands_both_rest_and_move_fast(danced):
    _, _, pose = danced
    speeds = 240 * np.linalg.norm(np.diff(pose.positions[:, BONE["left_hand"]], axis=0), axis=1)
    assert np.quantile(speeds, 0.1) < 0.6
    assert speeds.max() > 1.0


def test_feet_stand_on_the_floor_and_are_never_below_it(danced):
    body, _, pose = danced
    ankles = pose.positions[:, [BONE["left_foot"], BONE["right_foot"]], 1]
    assert ankles.min() > 0.95 * body.ankle
    # In most moments at least one foot stands.
    assert np.mean(ankles.min(axis=1) < body.ankle + 0.02) > 0.6


def test_a_body_at_rest_is_mirror_symmetric():
    rest = rest_positions(Proportions())
    for bone in BONES:
        if bone.startswith("left_"):
            assert_allclose(rest[BONE[bone]] * (-1, 1, 1), rest[BONE[bone.replace("left", "right")]], atol=1e-12)


def test_heights_differ_as_asked():
    small, tall = rest_positions(Proportions(height=1.5)), rest_positions(Proportions(height=2.0))
    assert_allclose(tall[BONE["head"], 1] / small[BONE["head"], 1], 2.0 / 1.5)


def test_a_limb_ends_at_its_target_within_reach_and_stretches_towards_one_beyond(generator):
    frame = np.broadcast_to(np.eye(3), (50, 3, 3))
    direction, reach = unit(generator.normal(size=(50, 3))), generator.uniform(0.3, 0.8, (50, 1))
    arguments = ((0.3, 0.25), frame, np.array([0.0, 0, 1]), np.array([0.0, -1, 0]), -1)
    limb = bend_limb(np.zeros((50, 3)), direction * reach, *arguments)
    wanted = np.minimum(reach, LARGEST_STRETCH * 0.55)
    assert_allclose(limb.end, direction * wanted, atol=1e-12)
    assert_allclose(limb.middle, turn(limb.upper, np.tile([0.0, -0.3, 0.0], (50, 1))), atol=1e-12)
    assert_allclose(limb.end - limb.middle, turn(limb.lower, np.tile([0.0, -0.25, 0.0], (50, 1))), atol=1e-12)


def test_elbows_point_down_when_hands_are_in_front_and_backwards_when_they_hang(generator):
    body = Proportions()
    dance = choreograph(generator, body, FRAMINGS["full"].style, 1.0)
    channels = dance.at(np.zeros(2))
    channels.hands[:] = np.array([[[0.3, -0.1, 0.6]] * 2, [[0.4, -0.7, 0.2]] * 2])
    pose = pose_figure(body, channels)
    for side in SIDES:
        shoulder, elbow, wrist = (
            pose.positions[:, BONE[f"{side}_{bone}"]] for bone in ("upper_arm", "forearm", "hand")
        )
        bent = elbow - (shoulder + wrist) / 2
        assert bent[0, 1] < -0.05
        assert bent[1, 2] < -0.02


def test_carry_is_the_smallest_rotation_between_two_directions(generator):
    start, end, vector = unit(generator.normal(size=(3, 3)))
    axis, angle = unit(np.cross(start, end)), np.arccos(start @ end)
    assert_allclose(carry(vector, start, end[None])[0], rotation(tuple(axis), angle) @ vector, atol=1e-12)


def test_tracks_pass_through_their_keys_and_pulses_return_to_zero():
    track = Track(np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.array([[1.0], [3.0], [-2.0]]))
    assert_allclose(track.at(np.array([-1.0, 0.0, 0.25, 0.5, 0.9, 1.5, 9.0]))[:, 0], [1, 1, 2, 3, 3, -2, -2])
    pulse = Pulses(np.array([1.0]), np.array([0.4]), np.array([[5.0]]))
    assert_allclose(pulse.at(np.array([0.5, 1.0, 1.2, 1.4, 3.0]))[:, 0], [0, 0, 5, 0, 0], atol=1e-12)


def test_left_keypoints_lie_on_the_images_right_when_a_dancer_at_rest_faces_us():
    dancer = cast_dancer(np.random.default_rng(3), 64, 112, np.arange(3) / 30)
    channels = dancer.dance.at(np.zeros(1))
    for name in ("pelvis_turn", "chest_turn", "head_turn"):
        getattr(channels, name)[:] = 0
    channels.hands[:] = (0.6, -0.3, 0.3)
    points = keypoints_in_space(pose_figure(dancer.look.body, channels), dancer.look, expressions_at(channels))[0]
    for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        assert points[JOINTS[f"left_{joint}"], 0] > points[JOINTS[f"right_{joint}"], 0]
    assert points[HANDS[0], 0].mean() > points[HANDS[1], 0].mean()
    # iBUG order: jaw from the image's left to its right, brows over eyes over nose over mouth over chin.
    jaw = points[23:40]
    assert (np.diff(jaw[:, 0]) > 0).all()
    heights = [points[23 + np.array(part), 1].mean() for part in ([19, 24], [37, 44], [33], [51], [57], [8])]
    assert (np.diff(heights) < 0).all()
