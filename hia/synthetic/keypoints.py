"""The dancer's 133 keypoints in COCO-WholeBody order: exact positions, and scores by occlusion."""

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import BODY, FACE, FEET, HANDS, JOINTS, NUM_KEYPOINTS
from hia.synthetic.appearance import Appearance
from hia.synthetic.body import ARM_PARTS, HAND_PARTS, HEAD_PART, LEGS_PART, TRUNK_PART
from hia.synthetic.face import Expression
from hia.synthetic.figure import BONE, FINGER_LENGTHS, FINGERS, SIDES, Pose, finger_direction
from hia.synthetic.head import ears, face_landmarks
from hia.synthetic.kinematics import Array
from hia.synthetic.raster import Fragments, Indices

# Scores of a keypoint that is seen; hidden by its own part, where estimators still find it; hidden by another part;
# outside the frame.
SEEN, BEHIND_OWN, BEHIND_OTHER, OUTSIDE = 1.0, 0.6, 0.2, 0.0
# A surface hides a point if it is nearer by more than this (m): joints lie inside the body.
OWN_DEPTH, OTHER_DEPTH = 0.02, 0.04
# Big toe, small toe and heel from the ankle of an average left foot, m.
FOOT_POINTS = np.array([[-0.014, -0.058, 0.175], [0.034, -0.062, 0.140], [0.002, -0.050, -0.055]])

LIMB_BONES = {
    "shoulder": "upper_arm",
    "elbow": "forearm",
    "wrist": "hand",
    "hip": "thigh",
    "knee": "shin",
    "ankle": "foot",
}


def keypoints_in_space(pose: Pose, look: Appearance, expressions: list[Expression]) -> Array:
    """The keypoints at the pose's T moments, float64 [T, 133, 3] m."""
    points = np.zeros((len(expressions), NUM_KEYPOINTS, 3))
    rest = pose.rest
    for moment, expression in enumerate(expressions):
        pose_then = Pose(pose.rotations[moment : moment + 1], pose.positions[moment : moment + 1], rest)
        points[moment, FACE] = pose_then.place("head", face_landmarks(look, expression))[0]
    face = points[:, FACE]
    points[:, JOINTS["nose"]] = face[:, 30]
    points[:, JOINTS["left_eye"]] = face[:, 42:48].mean(axis=1)
    points[:, JOINTS["right_eye"]] = face[:, 36:42].mean(axis=1)
    points[:, [JOINTS["left_ear"], JOINTS["right_ear"]]] = pose.place("head", ears(look))
    for side, name in enumerate(SIDES):
        for joint, bone in LIMB_BONES.items():
            points[:, JOINTS[f"{name}_{joint}"]] = pose.positions[:, BONE[f"{name}_{bone}"]]
        mirror = np.array([(1, -1)[side], 1, 1])
        ankle = rest[BONE[f"{name}_foot"]]
        feet = pose.place(f"{name}_foot", ankle + FOOT_POINTS * mirror * look.body.scale)
        points[:, FEET.start + 3 * side : FEET.start + 3 * side + 3] = feet
        points[:, HANDS[side]] = _hand(pose, look, side)
    return points


def _hand(pose: Pose, look: Appearance, side: int) -> Array:
    """Keypoints of a hand: wrist, then four points of each finger.   → [T, 21, 3]"""
    name, mirror = SIDES[side], np.array([(1, -1)[side], 1, 1])
    points = [pose.positions[:, BONE[f"{name}_hand"]]]
    for number, finger in enumerate(FINGERS):
        points += [pose.positions[:, BONE[f"{name}_{finger}{joint}"]] for joint in (1, 2, 3)]
        length = FINGER_LENGTHS[number, 2] * look.body.hand_length
        tip = pose.rest[BONE[f"{name}_{finger}3"]] + finger_direction(number) * mirror * length
        points.append(pose.place(f"{name}_{finger}3", tip[None])[:, 0])
    return np.stack(points, axis=1)


def _own_parts() -> NDArray[np.bool_]:
    """The parts of the body in which a keypoint lies, bool [133, parts]."""
    own = np.zeros((NUM_KEYPOINTS, max(HAND_PARTS) + 1), bool)
    own[[*range(BODY.start, 5), *range(FACE.start, FACE.stop)], HEAD_PART] = True
    own[FEET, LEGS_PART] = True
    for side, name in enumerate(SIDES):
        # Hair on a shoulder hides it no more than a sleeve does.
        own[JOINTS[f"{name}_shoulder"], [TRUNK_PART, ARM_PARTS[side], HEAD_PART]] = True
        for joint in ("elbow", "wrist"):
            own[JOINTS[f"{name}_{joint}"], [ARM_PARTS[side], HAND_PARTS[side]]] = True
        own[JOINTS[f"{name}_hip"], [TRUNK_PART, LEGS_PART]] = True
        own[[JOINTS[f"{name}_knee"], JOINTS[f"{name}_ankle"]], LEGS_PART] = True
        own[HANDS[side], HAND_PARTS[side]] = True
        own[HANDS[side].start, ARM_PARTS[side]] = True
    return own


OWN_PARTS = _own_parts()


def keypoint_scores(
    places: Array, fragments: Fragments, moment: int, parts: Indices, width: int, height: int
) -> NDArray[np.float32]:
    """Scores [133] of keypoints at `places` [133, 3] (pixels, z in metres) in one moment's picture.

    1 seen; 0.6 hidden by the same part (a finger behind its hand, a cheek turned away); 0.2 hidden by another part;
    0 outside the frame. parts [F]: the part of each of the mesh's triangles.
    """
    chosen = fragments.moment == moment
    depth, part = np.full(width * height, -np.inf, np.float32), np.zeros(width * height, np.int64)
    depth[fragments.pixel[chosen]] = fragments.depth[chosen]
    part[fragments.pixel[chosen]] = parts[fragments.triangle[chosen]]
    column, row = np.round(places[:, 0]).astype(int), np.round(places[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = np.where(inside, row * width + column, 0)
    own = OWN_PARTS[np.arange(NUM_KEYPOINTS), part[pixel]]
    ahead = depth[pixel] - places[:, 2]
    scores = np.where(ahead > OTHER_DEPTH, BEHIND_OTHER, SEEN)
    limbs = np.arange(NUM_KEYPOINTS) < FACE.start
    scores = np.where(own, np.where((ahead > OWN_DEPTH) & ~limbs, BEHIND_OWN, SEEN), scores)
    return np.where(inside, scores, OUTSIDE).astype(np.float32)
