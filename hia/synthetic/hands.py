"""The surfaces of the hands: a palm, five jointed fingers, nails."""

import numpy as np

from hia.synthetic.appearance import Appearance
from hia.synthetic.atlas import FINGER, NAIL, SKIN
from hia.synthetic.body import HAND_PARTS
from hia.synthetic.figure import (  # fmt: skip
    BONE,
    FINGER_LENGTHS,
    FINGER_ROOTS,
    FINGERS,
    SIDES,
    finger_direction,
    rest_positions,
)
from hia.synthetic.kinematics import Array, unit
from hia.synthetic.mesh import MeshBuilder, Ring, blend

# Of a hand 1 long: distance from the wrist, middle of the section (x, z), half width, half depth.
PALM = (
    (-0.03, 0.0, 0.0, 0.125, 0.085), (0.06, 0.005, 0.0, 0.145, 0.090), (0.16, 0.012, 0.004, 0.185, 0.098),
    (0.28, 0.008, 0.006, 0.215, 0.100), (0.40, -0.004, 0.008, 0.222, 0.088), (0.475, -0.012, 0.008, 0.212, 0.070),
    (0.515, -0.012, 0.008, 0.18, 0.045), (0.53, -0.012, 0.008, 0.10, 0.012),
)  # fmt: skip
FINGER_RADII = (0.068, 0.052, 0.054, 0.051, 0.044)
# Position along a finger, in bones from its root, and share of its radius. Joints are a little thicker than bones.
FINGER_PROFILE = (
    (-0.30, 0.55), (0.0, 1.0), (0.5, 0.95), (0.88, 1.0), (1.12, 0.98), (1.5, 0.90), (1.88, 0.93), (2.12, 0.88),
    (2.5, 0.83), (2.8, 0.72), (2.97, 0.45), (3.04, 0.12),
)  # fmt: skip


def add_hands(builder: MeshBuilder, look: Appearance, sides: int) -> None:
    """Add both hands; `sides` of a finger's cross-section."""
    wrist = rest_positions(look.body)[BONE["left_hand"]]
    for side in range(2):
        _add_palm(builder, look, wrist, side, 2 * sides)
        for finger in range(5):
            _add_finger(builder, look, wrist, side, finger, sides)


def _add_palm(builder: MeshBuilder, look: Appearance, wrist: Array, side: int, sides: int) -> None:
    size, name = look.body.hand_length, SIDES[side]
    rings = [
        Ring(
            tuple(wrist + np.array([x, -down, z]) * size),
            *(width * size, depth * size, depth * size),
            blend(f"{name}_forearm_end", f"{name}_hand", down - 0.02, 0.06),
            squareness=0.75,
        )
        for down, x, z, width, depth in PALM
    ]
    builder.loft(rings, sides, SKIN, HAND_PARTS[side], mirror=side == 1)


def _add_finger(builder: MeshBuilder, look: Appearance, wrist: Array, side: int, finger: int, sides: int) -> None:
    size, name = look.body.hand_length, f"{SIDES[side]}_{FINGERS[finger]}"
    direction, lengths = finger_direction(finger), FINGER_LENGTHS[finger]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    frame = _finger_frame(direction)
    rings = []
    for bones, share in FINGER_PROFILE:
        down = float(np.interp(bones, range(4), ends)) + min(bones, 0) * lengths[0] + max(bones - 3, 0) * 0.1
        radius = FINGER_RADII[finger] * share * size * (1.25 if finger == 0 and bones < 0.5 else 1.0)
        rings.append(
            Ring(
                tuple(wrist + (FINGER_ROOTS[finger] + down * direction) * size),
                *(radius, radius * 0.92, radius * 0.92),
                _finger_weights(SIDES[side], name, bones),
            )
        )
    builder.loft(rings, sides, FINGER, HAND_PARTS[side], frame, mirror=side == 1)
    _paint_nail(builder, len(rings), sides)


def _finger_frame(direction: Array) -> Array:
    """Local axes of a finger: −y along it, +z to the palm's side."""
    front = np.array([0.0, 0.0, 1.0])
    z = unit(front - (front @ direction) * direction)
    return np.stack([np.cross(-direction, z), -direction, z], axis=1)


def _finger_weights(side: str, finger: str, bones: float) -> dict[str, float]:
    joint = int(np.clip(np.round(bones), 0, 2))
    above = f"{side}_hand" if joint == 0 else f"{finger}{joint}"
    return blend(above, f"{finger}{joint + 1}", bones - joint, 0.2)


def _paint_nail(builder: MeshBuilder, rings: int, sides: int) -> None:
    """Give the back of the last loft's tip, at its seam, the colour of a nail."""
    texture = builder.texture[-1].reshape(rings, sides + 1, 2)
    back = np.r_[0 : sides // 6 + 1, sides - sides // 6 : sides + 1]
    texture[np.ix_(range(rings - 4, rings - 1), back)] = NAIL.texels(np.array(0.5), np.array(0.5))
