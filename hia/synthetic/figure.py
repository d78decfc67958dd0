"""The dancer's skeleton: proportions, bones, and forward kinematics from a dance step's channels to every bone.

Metres; x to the right of the image, y up from the floor, z to the viewer. At rest the dancer faces the viewer in the
anatomical position, arms and legs hanging along −y, palms to the front: every bone's rotation is then the identity.
Sides: 0 is the dancer's left (+x), 1 the right.
"""

from dataclasses import dataclass

import numpy as np

from hia.synthetic.appearance import Proportions
from hia.synthetic.kinematics import Array, bend_limb, euler, mirrored, rotation, turn

FINGERS = ("thumb", "index", "middle", "ring", "little")
TRUNK = ("pelvis", "spine", "chest", "neck", "head")
ARM = ("clavicle", "upper_arm", "forearm", "forearm_middle", "forearm_end", "hand")
LEG = ("thigh", "shin", "foot", "toes")
PHALANGES = tuple(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3))
SIDES = ("left", "right")
BONES = (*TRUNK, *(f"{side}_{bone}" for side in SIDES for bone in (*ARM, *PHALANGES, *LEG)))
BONE = {name: index for index, name in enumerate(BONES)}

# Of a hand 1 long at rest (left; wrist at 0, fingers along −y, palm to +z): the roots of the fingers and their bones.
FINGER_ROOTS = np.array(
    [[0.125, -0.13, 0.075], [0.140, -0.47, 0.01], [0.035, -0.50, 0.01], [-0.075, -0.47, 0.005], [-0.17, -0.415, 0.0]]
)
FINGER_LENGTHS = np.array(
    [[0.235, 0.18, 0.15], [0.235, 0.145, 0.12], [0.26, 0.16, 0.13], [0.24, 0.15, 0.125], [0.19, 0.115, 0.105]]
)
FINGER_SPLAY = np.array([0.0, 0.10, 0.02, -0.06, -0.15])
THUMB_DIRECTION = np.array([0.64, -0.70, 0.32]) / np.linalg.norm([0.64, -0.70, 0.32])
# Angles of the joints of a fully curled finger, and the axis about which the thumb bends.
FINGER_BEND = np.radians([82.0, 100.0, 62.0])
THUMB_BEND = np.radians([38.0, 45.0, 60.0])
THUMB_AXIS = np.cross(THUMB_DIRECTION, [-0.62, -0.30, 0.72])
THUMB_AXIS /= np.linalg.norm(THUMB_AXIS)

# Elbows point down and outwards when the arm reaches to the front; knees to the front when the leg stands.
ARM_FORWARD = np.array([0.2, -0.2, 0.96]) / np.linalg.norm([0.2, -0.2, 0.96])
ELBOW = np.cross(np.cross(ARM_FORWARD, [0.28, -0.96, 0.0]), ARM_FORWARD)
ELBOW /= np.linalg.norm(ELBOW)
LEG_FORWARD = np.array([0.0, -1.0, 0.0])
KNEE = np.array([0.12, 0.0, 0.99]) / np.linalg.norm([0.12, 0.0, 0.99])


@dataclass(frozen=True, eq=False)
class Channels:
    """The parameters of a dancer's pose at T moments; lengths in metres, angles in radians, left side first.

    pelvis [T, 3]: place (x, height above the hip joints' standing height, z); pelvis_turn, chest_turn, head_turn
    [T, 3]: yaw, pitch, roll, each relative to the bone below; hands [T, 2, 3]: wrists relative to the middle of the
    chest, of an arm 1 long; wrists [T, 2, 3]: pronation, flexion, deviation; curls [T, 2, 5] in [0, 1], spreads
    [T, 2]; feet [T, 2, 3]: ankles; feet_turn [T, 2]; blink, mouth [T] in [0, 1].
    """

    pelvis: Array
    pelvis_turn: Array
    chest_turn: Array
    head_turn: Array
    hands: Array
    wrists: Array
    curls: Array
    spreads: Array
    feet: Array
    feet_turn: Array
    blink: Array
    mouth: Array


@dataclass(frozen=True, eq=False)
class Pose:
    """Bones at T moments: rotations [T, B, 3, 3] from rest, positions [T, B, 3] of their upper ends, in BONES' order.

    rest [B, 3]: the positions at rest.
    """

    rotations: Array
    positions: Array
    rest: Array

    def place(self, bone: str, points: Array) -> Array:
        """Positions of points that are fixed to a bone, from those at rest [N, 3].   → [T, N, 3]"""
        index = BONE[bone]
        offsets = points - self.rest[index]
        return self.positions[:, index, None] + np.einsum("tij,nj->tni", self.rotations[:, index], offsets)


def rest_positions(body: Proportions) -> Array:
    """Upper ends of all bones at rest, float64 [B, 3]."""
    scale = body.scale
    places: dict[str, Array | tuple[float, float, float]] = {}
    heights = {"pelvis": 0.03, "spine": 0.13, "chest": 0.31, "neck": 0.53, "head": 0.607}
    for bone, above in heights.items():
        places[bone] = (0.0, body.trunk(above), -0.01 * scale if bone != "head" else 0.0)
    for side, sign in zip(SIDES, (1, -1), strict=True):
        shoulder = np.array([sign * 0.162 * scale * body.shoulders, body.trunk(0.468), -0.01 * scale])
        elbow = shoulder - (0, body.upper_arm, 0)
        wrist = elbow - (0, body.forearm, 0)
        hip = np.array([sign * 0.088 * scale * body.hips, body.hip_height, 0])
        knee = hip - (0, body.thigh, 0)
        ankle = knee - (0, body.shin, 0)
        parts: dict[str, Array | tuple[float, float, float]] = {
            "clavicle": (sign * 0.03 * scale, body.trunk(0.50), 0.0),
            **{"upper_arm": shoulder, "forearm": elbow, "hand": wrist},
            **{"thigh": hip, "shin": knee, "foot": ankle},
            **{"forearm_middle": elbow, "forearm_end": elbow},
            "toes": ankle + np.array([0, -0.055, 0.125]) * scale,
        }
        parts.update(_finger_positions(body, wrist, sign))
        places.update({f"{side}_{bone}": place for bone, place in parts.items()})
    return np.array([places[bone] for bone in BONES], np.float64)


def finger_direction(finger: int) -> Array:
    """Unit vector along a finger of the left hand at rest, float64 [3]."""
    if finger == 0:
        return THUMB_DIRECTION
    splay = FINGER_SPLAY[finger]
    return np.array([np.sin(splay), -np.cos(splay), 0.0])


def _finger_positions(body: Proportions, wrist: Array, sign: int) -> dict[str, Array]:
    mirror, places = np.array([sign, 1, 1]) * body.hand_length, {}
    for number, finger in enumerate(FINGERS):
        reach = np.concatenate([[0], np.cumsum(FINGER_LENGTHS[number])[:2]])
        for joint in range(3):
            places[f"{finger}{joint + 1}"] = wrist + mirror * (
                FINGER_ROOTS[number] + reach[joint] * finger_direction(number)
            )
    return places


def pose_figure(body: Proportions, channels: Channels) -> Pose:
    """Compute the pose by forward kinematics, and of limbs by two-bone inverse kinematics; bones keep their lengths."""
    rest = rest_positions(body)
    moments = len(channels.pelvis)
    rotations, positions = np.zeros((moments, len(BONES), 3, 3)), np.zeros((moments, len(BONES), 3))
    pose = Pose(rotations, positions, rest)
    _place_trunk(pose, body, channels)
    for side in range(2):
        _place_arm(pose, body, channels, side)
        _place_leg(pose, body, channels, side)
    return pose


def _attach(pose: Pose, bone: str, parent: str, turned: Array) -> None:
    """Hang a bone on its parent at rest's distance, with the rotation `turned` [T, 3, 3]."""
    index, above = BONE[bone], BONE[parent]
    offset = pose.rest[index] - pose.rest[above]
    pose.positions[:, index] = pose.positions[:, above] + pose.rotations[:, above] @ offset
    pose.rotations[:, index] = turned


def _place_trunk(pose: Pose, body: Proportions, channels: Channels) -> None:
    pelvis = euler(*channels.pelvis_turn.T)
    pose.positions[:, 0] = channels.pelvis + np.array([0, pose.rest[0, 1], 0])
    pose.rotations[:, 0] = pelvis
    half = euler(*(channels.chest_turn / 2).T)
    _attach(pose, "spine", "pelvis", pelvis @ half)
    chest = pelvis @ half @ half
    _attach(pose, "chest", "spine", chest)
    nod = euler(*(channels.head_turn / 2).T)
    _attach(pose, "neck", "chest", chest @ nod)
    _attach(pose, "head", "neck", chest @ nod @ nod)


def _place_arm(pose: Pose, body: Proportions, channels: Channels, side: int) -> None:
    name, sign = SIDES[side], (1, -1)[side]
    mirror = np.array([sign, 1, 1])
    chest = pose.rotations[:, BONE["chest"]]
    reach = body.upper_arm + body.forearm
    middle = pose.positions[:, BONE["chest"]] + chest @ (pose.rest[BONE[f"{name}_clavicle"]] * (0, 1, 1) - pose.rest[2])
    target = middle + turn(chest, channels.hands[:, side] * mirror * reach)
    # A raised hand lifts its shoulder.
    lift = 0.36 / (1 + np.exp(-5 * (channels.hands[:, side, 1] - 0.45)))
    _attach(pose, f"{name}_clavicle", "chest", chest @ rotation((0, 0, 1), sign * lift))
    _attach(pose, f"{name}_upper_arm", f"{name}_clavicle", chest)
    shoulder = pose.positions[:, BONE[f"{name}_upper_arm"]]
    lengths = (body.upper_arm, body.forearm)
    limb = bend_limb(shoulder, target, lengths, chest, ARM_FORWARD * mirror, ELBOW * mirror, crease=-1)
    pose.rotations[:, BONE[f"{name}_upper_arm"]] = limb.upper
    pronation, flexion, deviation = channels.wrists[:, side].T
    # The forearm turns with the hand, less and less towards the elbow.
    for part, share in (("forearm", 0.35), ("forearm_middle", 0.65), ("forearm_end", 1.0)):
        twist = rotation((0, 1, 0), -sign * share * pronation)
        _attach(pose, f"{name}_{part}", f"{name}_upper_arm", limb.lower @ twist)
    bent = rotation((1, 0, 0), -flexion) @ rotation((0, 0, 1), sign * deviation)
    _attach(pose, f"{name}_hand", f"{name}_forearm", limb.lower @ twist @ bent)
    _place_fingers(pose, channels, side)


def _place_fingers(pose: Pose, channels: Channels, side: int) -> None:
    hand = f"{SIDES[side]}_hand"
    for number, finger in enumerate(FINGERS):
        curl = channels.curls[:, side, number]
        spread = rotation((0, 0, 1), channels.spreads[:, side] * FINGER_SPLAY[number] * 1.6 * (1 - curl))
        axis, bends = (THUMB_AXIS, THUMB_BEND) if number == 0 else ((-1.0, 0.0, 0.0), FINGER_BEND)
        turned = pose.rotations[:, BONE[hand]]
        for joint in range(3):
            bend = rotation(axis, bends[joint] * curl)
            local = spread @ bend if joint == 0 else bend
            turned = turned @ (mirrored(local) if side else local)
            parent = hand if joint == 0 else f"{SIDES[side]}_{finger}{joint}"
            _attach(pose, f"{SIDES[side]}_{finger}{joint + 1}", parent, turned)


def _place_leg(pose: Pose, body: Proportions, channels: Channels, side: int) -> None:
    name, mirror = SIDES[side], np.array([(1, -1)[side], 1, 1])
    pelvis = pose.rotations[:, 0]
    _attach(pose, f"{name}_thigh", "pelvis", pelvis)
    hip = pose.positions[:, BONE[f"{name}_thigh"]]
    limb = bend_limb(
        *(hip, channels.feet[:, side], (body.thigh, body.shin), pelvis), LEG_FORWARD, KNEE * mirror, crease=1
    )
    pose.rotations[:, BONE[f"{name}_thigh"]] = limb.upper
    _attach(pose, f"{name}_shin", f"{name}_thigh", limb.lower)
    level = rotation((0, 1, 0), channels.feet_turn[:, side])
    # A lifted foot hangs by its toes.
    lifted = np.maximum(channels.feet[:, side, 1] - body.ankle, 0) / body.scale
    _attach(pose, f"{name}_foot", f"{name}_shin", level @ rotation((1, 0, 0), 4 * lifted))
    _attach(pose, f"{name}_toes", f"{name}_foot", level)
