"""The surfaces of trunk, limbs and clothes of a dancer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hia.synthetic.appearance import Appearance
from hia.synthetic.atlas import BOTTOM, SHOE, SKIN, SLEEVE, TOP
from hia.synthetic.figure import BONE, SIDES, rest_positions
from hia.synthetic.kinematics import Array
from hia.synthetic.mesh import MeshBuilder, Ring, blend

# Numbers of the parts of the body, by which occlusion is found; arms and hands have one number per side.
TRUNK_PART, HEAD_PART, LEGS_PART = 0, 1, 2
ARM_PARTS, HAND_PARTS = (3, 4), (5, 6)

# Of the average body: metres above the hip joints; half width, front, back.
TORSO = (
    (0.520, 0.062, 0.050, 0.058), (0.512, 0.090, 0.056, 0.066), (0.502, 0.128, 0.064, 0.076),
    (0.484, 0.160, 0.074, 0.086), (0.455, 0.176, 0.088, 0.095), (0.410, 0.174, 0.097, 0.099),
    (0.365, 0.166, 0.106, 0.101), (0.305, 0.153, 0.105, 0.096),
    (0.235, 0.139, 0.092, 0.086), (0.175, 0.131, 0.086, 0.080), (0.115, 0.138, 0.091, 0.086),
    (0.055, 0.153, 0.096, 0.102), (0.000, 0.162, 0.097, 0.112),
)  # fmt: skip
# The end of a top that hangs over the legs, by the share of it that follows the thighs.
HEM = {0.1: (0.055, 0.166, 0.108, 0.112), 0.35: (0.0, 0.180, 0.120, 0.122), 0.5: (-0.04, 0.186, 0.128, 0.126)}
# The upper end of trousers and skirts.
SEAT = (
    (0.115, 0.136, 0.089, 0.084), (0.085, 0.145, 0.092, 0.092), (0.045, 0.157, 0.096, 0.103),
    (0.0, 0.165, 0.098, 0.112), (-0.05, 0.150, 0.088, 0.104), (-0.085, 0.100, 0.060, 0.070),
)  # fmt: skip
# Distance down the limb as a share of its two bones, half width, half depth (m).
ARM_PROFILE = (
    (-0.095, 0.008, 0.008), (-0.08, 0.028, 0.028), (-0.04, 0.045, 0.047), (0.02, 0.051, 0.054),
    (0.12, 0.049, 0.053), (0.25, 0.044, 0.049), (0.38, 0.039, 0.043), (0.46, 0.037, 0.040), (0.53, 0.038, 0.040),
    (0.60, 0.040, 0.041), (0.68, 0.039, 0.038), (0.80, 0.033, 0.031), (0.92, 0.027, 0.023), (1.0, 0.026, 0.020),
    (1.03, 0.024, 0.018),
)  # fmt: skip
LEG_PROFILE = (
    (-0.05, 0.040, 0.050), (0.0, 0.070, 0.080), (0.07, 0.085, 0.092), (0.17, 0.083, 0.090), (0.28, 0.073, 0.080),
    (0.39, 0.062, 0.067), (0.47, 0.055, 0.060), (0.53, 0.051, 0.058), (0.60, 0.052, 0.059), (0.68, 0.053, 0.061),
    (0.78, 0.045, 0.052), (0.88, 0.036, 0.042), (0.96, 0.033, 0.038), (1.01, 0.034, 0.040),
)  # fmt: skip


def add_body(builder: MeshBuilder, look: Appearance, sides: int) -> None:
    """Add trunk, arms, legs, clothes and shoes; `sides` of a trunk's cross-section."""
    rest = rest_positions(look.body)
    _add_torso(builder, look, rest, sides)
    for side in range(2):
        _add_arm(builder, look, rest, side, max(8, sides // 2))
        _add_leg(builder, look, rest, side, max(8, sides * 2 // 3))
        _add_shoe(builder, look, rest, side, max(8, sides // 2))
    if look.legwear == "skirt":
        _add_skirt(builder, look, rest, sides)


def _torso_ring(look: Appearance, above: float, width: float, front: float, back: float, loose: float) -> Ring:
    body, scale = look.body, look.body.scale
    upper = float(np.clip((above - 0.15) / 0.25, 0, 1))
    wide = (body.shoulders * upper + body.hips * (1 - upper)) * (0.45 + 0.55 * body.girth)
    bust = body.bust * 0.028 * np.exp(-(((above - 0.345) / 0.055) ** 2))
    waist = 1 - 0.10 * body.bust * np.exp(-(((above - 0.19) / 0.07) ** 2))
    belly = (body.girth - 0.95) * 0.10 * np.exp(-(((above - 0.14) / 0.11) ** 2))
    return Ring(
        centre=(0, body.trunk(above), -0.008 * scale),
        width=(width * wide * waist + loose) * scale,
        front=((front + belly) * (0.4 + 0.6 * body.girth) + bust + loose) * scale,
        back=(back * (0.5 + 0.5 * body.girth) + loose) * scale,
        weights=_torso_weights(above),
        squareness=0.86,
    )


def _torso_weights(above: float) -> dict[str, float]:
    if above >= 0.21:
        weights = blend("spine", "chest", above - 0.28, 0.08)
        shoulder = float(np.clip((above - 0.40) / 0.1, 0, 0.16))
        return {bone: weight * (1 - shoulder) for bone, weight in weights.items()} | {"neck": shoulder}
    return blend("pelvis", "spine", above - 0.10, 0.08)


def _add_torso(builder: MeshBuilder, look: Appearance, rest: Array, sides: int) -> None:
    rows = [row for row in TORSO if row[0] > (0.05 if look.tucked else 0.1)]
    rings = [_torso_ring(look, *row, loose=0.006 if row[0] > 0.16 else 0.010) for row in rows]
    if not look.tucked:
        rings += [replace(_torso_ring(look, *row, loose=0.010), weights=_hanging(share)) for share, row in HEM.items()]
    builder.loft(rings, sides, TOP, TRUNK_PART)
    _divide_between_thighs(builder, look)
    _lift_shoulders(builder, look)
    rings = [_torso_ring(look, *row, loose=0.015 if look.tucked else 0.004) for row in SEAT]
    builder.loft(rings, sides, BOTTOM, TRUNK_PART)
    scale, thick = look.body.scale, 0.8 + 0.2 * look.body.girth
    heights = ((0.46, 0.072), (0.50, 0.064), (0.53, 0.055), (0.56, 0.051), (0.59, 0.051), (0.625, 0.053))
    neck = [
        Ring(
            (0, look.body.trunk(above), (0.004 if above > 0.55 else -0.004) * scale),
            *(radius * thick * scale, radius * thick * scale, 1.1 * radius * thick * scale),
            blend("chest", "neck", above - 0.52, 0.05) if above < 0.57 else blend("neck", "head", above - 0.605, 0.05),
        )
        for above, radius in heights
    ]
    builder.loft(neck[::-1], max(8, sides * 2 // 3), SKIN, TRUNK_PART)


def _lift_shoulders(builder: MeshBuilder, look: Appearance) -> None:
    """Make the last loft's upper corners follow the collar bones."""
    points, weights = builder.points[-1], builder.weights[-1]
    high = np.clip((points[:, 1] - look.body.trunk(0.33)) / (0.12 * look.body.scale), 0, 1)
    for name, sign in zip(SIDES, (1, -1), strict=True):
        outer = np.clip((sign * points[:, 0] / look.body.scale - 0.05) / 0.10, 0, 1)
        share = 0.8 * high * outer
        weights *= 1 - share[:, None]
        weights[:, BONE[f"{name}_clavicle"]] += share


def _limb(
    profile: Sequence[tuple[float, float, float]], start: Array, lengths: tuple[float, float], bones: Sequence[str],
    *, scale: float, loose: float = 0.0, thick: float = 1.0, since: float = -1.0, until: float = 2.0,
) -> list[Ring]:  # fmt: skip
    """Rings down a limb that hangs at rest, from `since` to `until` of its two bones, from an interpolated profile."""
    shares = [share for share, *_ in profile if since < share < until] + ([until] if until <= profile[-1][0] else [])
    known = np.array(profile)
    rings = []
    for share in shares:
        width, depth = (np.interp(share, known[:, 0], known[:, column]) * thick + loose for column in (1, 2))
        down = lengths[0] * min(share, 0.5) * 2 + lengths[1] * max(share - 0.5, 0) * 2
        weights = _limb_weights(down - lengths[0], lengths[1], bones)
        rings.append(Ring((start[0], start[1] - down, start[2]), width * scale, depth * scale, depth * scale, weights))
    return rings


def _limb_weights(beyond: float, lower: float, bones: Sequence[str]) -> dict[str, float]:
    weights = blend(bones[0], bones[1], beyond, 0.05)
    if len(bones) == 4 and beyond > 0.05:
        share = min(2.0, 2 * (beyond - 0.05) / (lower - 0.05))
        first, second = (bones[1], bones[2]) if share < 1 else (bones[2], bones[3])
        return {first: 1 - share % 1, second: share % 1} if share < 2 else {bones[3]: 1.0}
    return weights


def _add_arm(builder: MeshBuilder, look: Appearance, rest: Array, side: int, sides: int) -> None:
    body, name = look.body, SIDES[side]
    start = rest[BONE["left_upper_arm"]]
    bones = [f"{name}_{bone}" for bone in ("upper_arm", "forearm", "forearm_middle", "forearm_end")]
    lengths, thick = (body.upper_arm, body.forearm), 0.55 + 0.45 * body.girth - 0.06 * (body.bust > 0)
    hidden = look.sleeves - 0.15 if look.sleeves else -1.0
    skin = _limb(ARM_PROFILE, start, lengths, bones, scale=body.scale, thick=thick, since=hidden)
    builder.loft(skin, sides, SKIN, ARM_PARTS[side], mirror=side == 1)
    if look.sleeves:
        sleeve = _limb(
            *(ARM_PROFILE, start, lengths, bones), scale=body.scale, thick=thick, loose=0.008, until=look.sleeves
        )
        builder.loft(sleeve, sides, SLEEVE, ARM_PARTS[side], mirror=side == 1)


def _add_leg(builder: MeshBuilder, look: Appearance, rest: Array, side: int, sides: int) -> None:
    body, name = look.body, SIDES[side]
    start, bones = rest[BONE["left_thigh"]], [f"{name}_thigh", f"{name}_shin"]
    lengths, thick = (body.thigh, body.shin), (0.45 + 0.55 * body.girth) * (0.6 + 0.4 * body.hips)
    covered = {"trousers": 0.985, "leggings": 0.97, "shorts": 0.36, "skirt": 0.0}[look.legwear]
    hidden = {"trousers": 0.8, "leggings": 0.8, "shorts": 0.2, "skirt": 0.2}[look.legwear]
    skin = _limb(LEG_PROFILE, start, lengths, bones, scale=body.scale, thick=thick, since=hidden)
    builder.loft(skin, sides, SKIN, LEGS_PART, mirror=side == 1)
    if covered:
        loose = {"trousers": 0.013, "leggings": 0.003, "shorts": 0.016}[look.legwear]
        cloth = _limb(*(LEG_PROFILE, start, lengths, bones), scale=body.scale, thick=thick, loose=loose, until=covered)
        builder.loft(cloth, sides, BOTTOM, LEGS_PART, mirror=side == 1)


def _add_shoe(builder: MeshBuilder, look: Appearance, rest: Array, side: int, sides: int) -> None:
    """Add a shoe from heel to toe: rings across the foot."""
    ankle, scale = rest[BONE["left_foot"]], look.body.scale
    forward = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
    name = SIDES[side]
    rows = (
        (-0.062, 0.008, 0.030, -0.045), (-0.055, 0.026, 0.048, -0.028), (-0.025, 0.036, 0.060, -0.016),
        (0.015, 0.036, 0.056, -0.020), (0.055, 0.039, 0.042, -0.034), (0.105, 0.045, 0.030, -0.046),
        (0.150, 0.043, 0.024, -0.052), (0.180, 0.030, 0.018, -0.057), (0.190, 0.010, 0.010, -0.062),
    )  # fmt: skip
    rings = [
        Ring(
            tuple(ankle + np.array([0.004, height, along]) * scale),
            *(width * scale, tall * scale, tall * scale),
            blend(f"{name}_foot", f"{name}_toes", along - 0.12, 0.03),
            squareness=0.8,
        )
        for along, width, tall, height in rows
    ]
    builder.loft(rings, sides, SHOE, LEGS_PART, frame=forward, mirror=side == 1)


def _add_skirt(builder: MeshBuilder, look: Appearance, rest: Array, sides: int) -> None:
    """Add a skirt from the waist to the knee; below the hips it follows both thighs."""
    rings = [
        _torso_ring(look, above, width, front, back, loose=0.012) for above, width, front, back in TORSO if above < 0.12
    ]
    body = look.body
    for number, share in enumerate((0.15, 0.35, 0.6, 0.85)):
        width, depth = 0.185 + 0.022 * number, 0.125 + 0.016 * number
        rings.append(
            Ring(
                (0, body.hip_height - share * body.thigh, 0.005),
                *(width * body.hips * body.scale, depth * body.scale, depth * body.scale),
                _hanging(min(1.0, 0.5 + share)),
            )
        )
    builder.loft(rings, sides, BOTTOM, LEGS_PART)
    _divide_between_thighs(builder, look)


def _hanging(share: float) -> dict[str, float]:
    """Weights of bones over cloth of which a share follows the thighs."""
    return {"pelvis": 1 - share, "left_thigh": share / 2, "right_thigh": share / 2}


def _divide_between_thighs(builder: MeshBuilder, look: Appearance) -> None:
    """Make each half of the last loft hang from its own thigh, the middle from both."""
    across = np.clip(builder.points[-1][:, 0] / (0.24 * look.body.scale) + 0.5, 0, 1)
    weights, thighs = builder.weights[-1], [BONE["left_thigh"], BONE["right_thigh"]]
    weights[:, thighs] = weights[:, thighs].sum(axis=1, keepdims=True) * np.stack([across, 1 - across], axis=1)
