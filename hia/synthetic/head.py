"""The surfaces of head and hair, and the points of the face on them."""

import numpy as np

from hia.synthetic.appearance import Appearance
from hia.synthetic.atlas import FACE, HAIR, SKIN
from hia.synthetic.body import HEAD_PART
from hia.synthetic.face import BOTTOM, LEFT, RIGHT, TOP, Expression, face_points
from hia.synthetic.figure import BONE, rest_positions
from hia.synthetic.kinematics import Array
from hia.synthetic.mesh import MeshBuilder, Ring, blend

# Of an average head, m: height over the base of the skull, half width, front, back; FORWARD: its offset to the front.
HEAD = np.array(
    [
        (0.187, 0.010, 0.010, 0.010), (0.183, 0.034, 0.036, 0.036), (0.173, 0.053, 0.058, 0.058),
        (0.155, 0.068, 0.074, 0.077), (0.130, 0.0765, 0.085, 0.091), (0.100, 0.0785, 0.089, 0.096),
        (0.072, 0.0775, 0.088, 0.095), (0.050, 0.0765, 0.088, 0.088), (0.025, 0.0740, 0.087, 0.076),
        (0.000, 0.0675, 0.086, 0.060), (-0.018, 0.0565, 0.084, 0.045), (-0.034, 0.0400, 0.079, 0.030),
        (-0.045, 0.0220, 0.068, 0.020), (-0.050, 0.0060, 0.050, 0.010),
    ]
)  # fmt: skip
FORWARD = 0.008
SQUARENESS = 0.92
# Height, half width, and distance out of the face, m.
NOSE = np.array(
    [
        (0.080, 0.0050, 0.001), (0.068, 0.0065, 0.004), (0.055, 0.0080, 0.009), (0.044, 0.0100, 0.015),
        (0.036, 0.0130, 0.020), (0.029, 0.0135, 0.018), (0.024, 0.0105, 0.010), (0.021, 0.0040, 0.001),
    ]
)  # fmt: skip
EAR = np.array([0.079, 0.058, -0.004])

# The hairline's height by the angle from the front, and the thickness of hair by style, m.
HAIRLINE = np.radians([0, 35, 58, 75, 100, 125, 180]), np.array([0.137, 0.135, 0.118, 0.070, 0.050, 0.012, -0.012])
HAIR_THICKNESS = {"short": 0.013, "crop": 0.005, "bob": 0.016, "long": 0.014, "bun": 0.008, "afro": 0.046}
HANGING = {"bob": -0.055, "long": -0.20}


def head_size(look: Appearance) -> float:
    """Size of the head relative to the average one of the constants above."""
    return look.body.scale * look.body.head


def add_head(builder: MeshBuilder, look: Appearance, sides: int) -> None:
    """Add head, nose, ears and hair; `sides` of the head's cross-section."""
    base, size = rest_positions(look.body)[BONE["head"]], head_size(look)
    rings = [_head_ring(base, size, row) for row in HEAD]
    builder.loft(rings, sides, SKIN, HEAD_PART)
    _project_face(builder, base, size)
    nose = [
        Ring(tuple(base + np.array([0, y, _front(0.0, y) - 0.004]) * size), width * size, (out + 0.004) * size,
             0.004 * size, {"head": 1.0})
        for y, width, out in NOSE
    ]  # fmt: skip
    builder.loft(nose, 10, SKIN, HEAD_PART)
    _project_face(builder, base, size)
    for mirror in (False, True):
        builder.loft(_ear(base, size), 8, SKIN, HEAD_PART, mirror=mirror)
    _add_hair(builder, look, base, size, sides + 8)


def face_landmarks(look: Appearance, expression: Expression) -> Array:
    """The 68 points of the face on the body at rest, float64 [68, 3] m."""
    plane = face_points(look, expression)
    depth = _front(*plane.T)
    bridge, tip = slice(27, 31), slice(31, 36)
    depth[bridge] += np.interp(plane[bridge, 1], NOSE[::-1, 0], NOSE[::-1, 2])
    depth[tip] += 0.012 * (1 - (plane[tip, 0] / 0.02) ** 2)
    base = rest_positions(look.body)[BONE["head"]]
    return base + np.column_stack([plane, depth]) * head_size(look)


def ears(look: Appearance) -> Array:
    """Positions of the left and the right ear on the body at rest, float64 [2, 3] m."""
    base = rest_positions(look.body)[BONE["head"]]
    return base + np.stack([EAR, EAR * (-1, 1, 1)]) * head_size(look)


def _head_ring(base: Array, size: float, row: Array) -> Ring:
    y, width, front, back = row
    centre = tuple(base + np.array([0, y, FORWARD]) * size)
    return Ring(centre, width * size, front * size, back * size, {"head": 1.0}, SQUARENESS)


def _front(x: Array | float, y: Array | float) -> Array:
    """Depth of the front of an average head at points of the face's plane."""
    width, front = (np.interp(y, HEAD[::-1, 0], HEAD[::-1, column]) for column in (1, 2))
    inside = np.maximum(0.0, 1 - (np.abs(x) / width) ** (2 / SQUARENESS))
    return np.asarray(FORWARD + front * inside ** (SQUARENESS / 2))


def _project_face(builder: MeshBuilder, base: Array, size: float) -> None:
    """Map the last loft's texture to the face's picture, seen from the front; its back gets the picture's rim."""
    x, y, z = ((builder.points[-1] - base) / size).T
    x = np.where(z < 0, np.where(x < 0, LEFT, RIGHT), x)
    around, down = (x - LEFT) / (RIGHT - LEFT), (TOP - y) / (TOP - BOTTOM)
    builder.texture[-1][:] = FACE.texels(np.clip(around, 0, 1), np.clip(down, 0, 1))


def _ear(base: Array, size: float) -> list[Ring]:
    rows = ((0.030, 0.003, 0.004), (0.022, 0.008, 0.010), (0.004, 0.011, 0.016), (-0.014, 0.009, 0.012),
            (-0.028, 0.007, 0.008), (-0.034, 0.002, 0.003))  # fmt: skip
    return [
        Ring(tuple(base + (EAR + np.array([0, y, 0])) * size), width * size, depth * size, depth * size, {"head": 1.0})
        for y, width, depth in rows
    ]


def _add_hair(builder: MeshBuilder, look: Appearance, base: Array, size: float, sides: int) -> None:
    """Add a cap over the skull that ends at the hairline, and hair that hangs from it or is tied up."""
    thickness = HAIR_THICKNESS[look.hair_style]
    builder.loft([_head_ring(base, size, row) for row in _finer(HEAD[:11])], sides, HAIR, HEAD_PART)
    local = (builder.points[-1] - base) / size
    middle = np.array([0, 0.085, 0.0])
    angle = np.abs(np.arctan2(local[:, 0], local[:, 2] - FORWARD))
    line = np.interp(angle, *HAIRLINE) + 0.10 * look.face[3] * local[:, 0] * (angle < 1.0)
    above = np.clip((local[:, 1] - line) / 0.016, -1, 1)
    outwards = (local - middle) / np.linalg.norm(local - middle, axis=1, keepdims=True)
    offset = np.where(above > 0, 0.003 + thickness * np.sqrt(np.maximum(above, 0)), 0.006 * above)
    builder.points[-1][:] = base + (local + outwards * offset[:, None]) * size
    if look.hair_style in HANGING:
        builder.loft(_hanging(look, base, size), sides, HAIR, HEAD_PART)
    if look.hair_style == "bun":
        heights = np.cos(np.linspace(0.15, np.pi - 0.15, 7)) * 0.042
        radii = np.sqrt(0.0443**2 - heights**2) * size
        rings = [
            Ring(tuple(base + np.array([0, 0.175 + y, -0.055]) * size), radius, radius, radius, {"head": 1.0})
            for y, radius in zip(heights, radii, strict=True)
        ]
        builder.loft(rings, 12, HAIR, HEAD_PART)


def _hanging(look: Appearance, base: Array, size: float) -> list[Ring]:
    """Hair behind the face, from the crown down; long hair ends on the back."""
    end = HANGING[look.hair_style]
    rings = []
    for share in np.linspace(0, 1, 8):
        y = 0.15 + (end - 0.15) * share
        width = 0.070 + 0.024 * np.sin(np.pi * min(1, share * 1.15) / 1.6)
        weights = blend("chest", "head", y + 0.08, 0.09)
        rings.append(
            Ring(tuple(base + np.array([0, y, -0.035]) * size), width * size, 0.034 * size,
                 (0.070 + 0.008 * share) * size, weights)
        )  # fmt: skip
    last = rings[-1]
    rings.append(Ring(last.centre, last.width * 0.6, last.front * 0.5, last.back * 0.6, last.weights))
    return rings


def _finer(rows: Array) -> Array:
    """Rows with a middle one inserted between each two."""
    between = (rows[1:] + rows[:-1]) / 2
    return np.insert(rows, range(1, len(rows)), between, axis=0)
