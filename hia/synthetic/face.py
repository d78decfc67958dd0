"""The face: 68 points on it in the order of iBUG 300-W, and the picture painted from those same points.

Plane of the face: metres of an average head, x to the dancer's left (the image's right), y up from the base of the
skull. Expressions move the points, and so both the picture and the keypoints.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.synthetic.appearance import Appearance, Colour
from hia.synthetic.atlas import FACE, shade
from hia.synthetic.kinematics import Array

# The part of the face's plane that its patch of the atlas covers, m.
LEFT, RIGHT, BOTTOM, TOP = -0.085, 0.085, -0.055, 0.190
EYE_HEIGHT, EYE_DISTANCE, EYE_HALF_WIDTH, EYE_HALF_HEIGHT = 0.072, 0.0325, 0.0165, 0.0088
BROW_HEIGHT, MOUTH_HEIGHT, MOUTH_HALF_WIDTH = 0.0955, -0.001, 0.0255
NOSE_BASE = 0.026
JAW_Y = (0.072, 0.052, 0.032, 0.012, -0.006, -0.022, -0.035, -0.043, -0.046)
JAW_X = (0.0765, 0.0755, 0.0735, 0.0690, 0.0610, 0.0490, 0.0335, 0.0170, 0.0)
Canvas = NDArray[np.uint8]

# Drawing in 1/16 texels.
SHIFT = 4


@dataclass(frozen=True)
class Expression:
    """An expression of the face. blink: 0 open to 1 closed; mouth: 0 closed to 1 open."""

    blink: float
    mouth: float


def face_points(look: Appearance, expression: Expression) -> Array:
    """The 68 points in the plane of the face, float64 [68, 2] m."""
    wide, brow, lips, smile = look.face
    jaw_x = np.array([*(-np.array(JAW_X)), *JAW_X[-2::-1]])
    jaw = np.stack([jaw_x, [*JAW_Y, *JAW_Y[-2::-1]]], axis=1)
    jaw[:, 1] -= 0.010 * expression.mouth * np.exp(-((jaw[:, 0] / 0.035) ** 2))
    brows = _brows(brow)
    nose = [(0, 0.072), (0, 0.060), (0, 0.048), (0, 0.037)]
    nostrils = [(x * (1 + 0.12 * wide), NOSE_BASE - 0.002 * (x == 0)) for x in (-0.0125, -0.0065, 0.0, 0.0065, 0.0125)]
    eyes = _eyes(expression.blink, wide)
    mouth = _mouth(expression.mouth, lips, smile)
    return np.concatenate([jaw, brows, nose, nostrils, eyes, mouth])


def _brows(lift: float) -> Array:
    left = np.array([(0.013, 0), (0.024, 0.006), (0.034, 0.0075), (0.044, 0.005), (0.052, -0.002)])
    left[:, 1] += BROW_HEIGHT + 0.0025 * lift
    return np.concatenate([left[::-1] * (-1, 1), left])


def _eyes(blink: float, wide: float) -> Array:
    """Six points of each eye: corner, two of the upper lid, corner, two of the lower."""
    half, tall = EYE_HALF_WIDTH * (1 + 0.06 * wide), EYE_HALF_HEIGHT
    upper = tall * (1 - 1.5 * blink)
    lower = -0.75 * tall
    left = np.array([(-half, -0.001), (-0.4 * half, upper), (0.4 * half, upper), (half, 0.001)])
    left = np.concatenate([left, [(0.4 * half, lower), (-0.4 * half, lower)]])
    left += (EYE_DISTANCE, EYE_HEIGHT)
    right = (left * (-1, 1))[[3, 2, 1, 0, 5, 4]]
    return np.concatenate([right, left])


def _mouth(opening: float, full: float, smile: float) -> Array:
    half, corner = MOUTH_HALF_WIDTH * (1 + 0.05 * smile), 0.0025 * smile + 0.002
    thick, gap = 0.0062 * (1 + 0.2 * full), 0.010 * opening
    shares = np.array([-1, -0.62, -0.22, 0, 0.22, 0.62, 1])
    upper = np.stack([shares * half, thick * np.array([0, 0.75, 1.15, 0.95, 1.15, 0.75, 0])], axis=1)
    lower = np.stack([shares[5:0:-1] * half, -1.35 * thick * np.array([0.62, 0.95, 1, 0.95, 0.62]) - gap], axis=1)
    upper[[0, 6], 1] += corner
    inner = np.array([-0.82, -0.35, 0, 0.35, 0.82, 0.35, 0, -0.35]) * half
    inner_y = np.array([corner * 0.8, 0.001, 0.0008, 0.001, corner * 0.8, -0.0006 - gap, -0.0008 - gap, -0.0006 - gap])
    return np.concatenate([upper, lower, np.stack([inner, inner_y], axis=1)]) + np.array([0, MOUTH_HEIGHT])


def paint_complexion(look: Appearance) -> Canvas:
    """Paint the parts of the face's picture that no expression changes: skin, blush, beard.   → sRGB uint8 [h, w, 3]"""
    canvas = np.empty((FACE.height, FACE.width, 3), np.uint8)
    canvas[:] = _byte(look.skin)
    points = face_points(look, Expression(blink=0, mouth=0))
    _blush(canvas, look, points)
    if look.beard:
        _beard(canvas, look, points)
    return canvas


def paint_face(complexion: Canvas, look: Appearance, expression: Expression) -> Canvas:
    """Paint the face's patch of the atlas, sRGB uint8 [h, w, 3]."""
    canvas = complexion.copy()
    points = face_points(look, expression)
    for eye, brow in ((slice(36, 42), slice(17, 22)), (slice(42, 48), slice(22, 27))):
        _paint_eye(canvas, look, points[eye])
        dark = _byte(shade(look.hair, 0.7))
        cv2.polylines(canvas, [_texels(points[brow])], False, dark, 5, cv2.LINE_AA, SHIFT)
    _paint_nose(canvas, look, points)
    _paint_mouth(canvas, look, points)
    return canvas


def _texels(points: Array) -> NDArray[np.int32]:
    """Points of the face's plane in 1/16 texels of its patch."""
    x = (points[:, 0] - LEFT) / (RIGHT - LEFT) * (FACE.width - 2)
    y = (TOP - points[:, 1]) / (TOP - BOTTOM) * (FACE.height - 2)
    return np.round(np.stack([x, y], axis=1) * 2**SHIFT).astype(np.int32)


def _byte(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * min(max(channel, 0), 1)) for channel in colour)
    return red, green, blue


def _soften(canvas: Canvas, mask: Canvas, colour: Colour, strength: float, blur: float) -> None:
    """Tint the canvas through a blurred mask, in place."""
    share = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), blur)[..., None] * strength
    canvas[:] = np.round(canvas * (1 - share) + np.array(_byte(colour)) * share).astype(np.uint8)


def _blush(canvas: Canvas, look: Appearance, points: Array) -> None:
    """Redden the cheeks, darken the sockets of the eyes."""
    cheeks, sockets = np.zeros(canvas.shape[:2], np.uint8), np.zeros(canvas.shape[:2], np.uint8)
    for x, y in _texels(np.array([[-0.044, 0.028], [0.044, 0.028]])):
        cv2.circle(cheeks, (int(x), int(y)), 15 << SHIFT, 255, -1, cv2.LINE_8, SHIFT)
    for x, y in _texels(np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)])):
        cv2.ellipse(sockets, (int(x), int(y)), (24 << SHIFT, 15 << SHIFT), 0, 0, 360, 255, -1, cv2.LINE_8, SHIFT)
    red, green, blue = look.skin
    _soften(canvas, cheeks, (min(1, red * 1.04), green * 0.80, blue * 0.80), 0.55, 7)
    _soften(canvas, sockets, shade(look.skin, 0.72), 0.55, 4)


def _beard(canvas: Canvas, look: Appearance, points: Array) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    outline = np.concatenate([points[2:15], [(0.05, 0.022), (0.025, 0.016), (-0.025, 0.016), (-0.05, 0.022)]])
    cv2.fillPoly(mask, [_texels(outline)], 255, cv2.LINE_8, SHIFT)
    mask[:, :8] = mask[:, -8:] = 0
    _soften(canvas, mask, look.hair, 0.55, 4)


def _paint_eye(canvas: Canvas, look: Appearance, points: Array) -> None:
    """Paint white, iris and pupil inside the lids, and a dark upper lid."""
    outline = _texels(points)
    corners = points[[0, 3]].mean(axis=0)
    if points[1:3, 1].mean() - points[4:6, 1].mean() > 0.002:
        eye = canvas.copy()
        cv2.fillPoly(eye, [outline], (246, 243, 238), cv2.LINE_AA, SHIFT)
        x, y = (int(value) for value in _texels(corners[None] + (0, 0.0008))[0])
        for radius, colour in ((7.6, shade(look.eyes, 0.6)), (6.4, look.eyes), (3.6, (0.04, 0.03, 0.03))):
            cv2.circle(eye, (x, y), round(radius * 2**SHIFT), _byte(colour), -1, cv2.LINE_AA, SHIFT)
        cv2.circle(eye, (x - 40, y - 40), 30, (255, 255, 255), -1, cv2.LINE_AA, SHIFT)
        mask = np.zeros(canvas.shape[:2], np.uint8)
        cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, SHIFT)
        canvas[:] = np.where(mask[..., None] > 127, eye, canvas)
    lash = _byte(shade(look.skin, 0.22))
    cv2.polylines(canvas, [outline[:4]], False, lash, 3, cv2.LINE_AA, SHIFT)
    cv2.polylines(canvas, [outline[[3, 4, 5, 0]]], False, _byte(shade(look.skin, 0.62)), 1, cv2.LINE_AA, SHIFT)


def _paint_nose(canvas: Canvas, look: Appearance, points: Array) -> None:
    dark = _byte(shade(look.skin, 0.5))
    for nostril in points[[32, 34]]:
        x, y = (int(value) for value in _texels(nostril[None])[0])
        cv2.ellipse(canvas, (x, y), (48, 26), 0, 0, 360, dark, -1, cv2.LINE_AA, SHIFT)
    cv2.polylines(canvas, [_texels(points[31:36])], False, _byte(shade(look.skin, 0.7)), 2, cv2.LINE_AA, SHIFT)


def _paint_mouth(canvas: Canvas, look: Appearance, points: Array) -> None:
    """Paint the lips; between them the dark of the mouth, and teeth when it is open."""
    cv2.fillPoly(canvas, [_texels(points[48:60])], _byte(look.lips), cv2.LINE_AA, SHIFT)
    inner = points[60:68]
    cv2.fillPoly(canvas, [_texels(inner)], (60, 18, 20), cv2.LINE_AA, SHIFT)
    if inner[2, 1] - inner[6, 1] > 0.004:
        teeth = np.concatenate([inner[:5] * (0.9, 1), (inner[3:0:-1] - (0, 0.0032)) * (0.9, 1)])
        cv2.fillPoly(canvas, [_texels(teeth)], (240, 236, 228), cv2.LINE_AA, SHIFT)
    line = _byte(shade(look.lips, 0.5))
    cv2.polylines(canvas, [_texels(inner[:5])], False, line, 2, cv2.LINE_AA, SHIFT)
