"""Rendering of skeletons from keypoints, in the manner of OpenPose and DWPose.

The picture of a mirrored person is the mirrored picture with the colours of left and right exchanged: a left
part and its right counterpart form one layer, and layers lie on each other in a fixed order.
"""

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from hia.pose.antialias import Colour, Pixels, Point, Shape, Size, discs, ellipse, line, paint_layer, union
from hia.pose.keypoints import FACE, FEET, HANDS, JOINTS, NECK, SCORE_THRESHOLD, require_person

Points = list[Point | None]
Layer = list[Shape | None]

# OpenPose's 18 body points as COCO-WholeBody keypoints, then the feet (big toe, small toe, heel, left first).
BODY_POINTS = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *range(FEET.start, FEET.stop))
POINT_MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
# OpenPose's limbs as pairs of these points, from bottom to top; the head's are the last five.
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
LIMB_MIRROR = tuple(LIMBS.index((POINT_MIRROR[start], POINT_MIRROR[end])) for start, end in LIMBS)
# Ankle and point of the foot, right and left: heels, small toes, big toes.
FEET_BONES = (((10, 23), (13, 20)), ((10, 22), (13, 19)), ((10, 21), (13, 18)))
# Each finger is a chain of four bones from the wrist.
HAND_BONES = tuple((0 if bone % 4 == 0 else bone, bone + 1) for bone in range(20))

LIMB_BRIGHTNESS = 0.6
# Sizes in px for pictures of 512 px on their short side, and the smallest that still shows on small ones.
REFERENCE_SIDE = 512
LIMB_HALF_WIDTH, LEAST_LIMB_HALF_WIDTH = 4.0, 0.9
HAND_HALF_WIDTH, LEAST_HAND_HALF_WIDTH = 1.0, 0.35
HAND_RADIUS, LEAST_HAND_RADIUS = 4.0, 0.6
FACE_RADIUS, LEAST_FACE_RADIUS = 3.0, 0.5
# Points farther outside a picture than this (px) are brought to this distance: float32 cannot hold all squares.
FARTHEST = 1e5


@dataclass(frozen=True)
class Palette:
    """RGB colours in [0, 1] of OpenPose's 18 points, its 17 limbs (as in LIMBS), of hands and face."""

    points: tuple[Colour, ...]
    limbs: tuple[Colour, ...]
    hand_bones: tuple[Colour, ...]
    hand_point: Colour = (0.0, 0.0, 1.0)
    face_point: Colour = (1.0, 1.0, 1.0)

    def mirrored(self) -> "Palette":
        """The palette with the colours of left and right exchanged. Both hands look alike and stay."""
        points = tuple(self.points[index] for index in POINT_MIRROR)
        return replace(self, points=points, limbs=tuple(self.limbs[index] for index in LIMB_MIRROR))


def _colour_wheel(steps: int) -> tuple[Colour, ...]:
    return tuple(colorsys.hsv_to_rgb(step / steps, 1, 1) for step in range(steps))


# OpenPose's colours are the wheel in 18 steps from red; the limbs take them in order.
OPENPOSE = Palette(_colour_wheel(18), _colour_wheel(18)[:17], _colour_wheel(20))


def render_skeleton(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    width: int,
    height: int,
    *,
    feet: bool = False,
    palette: Palette = OPENPOSE,
) -> Pixels:
    """The skeleton on black, float32 [3, height, width] RGB in [0, 1].

    keypoints [133, 2] px; scores [133]: points below 0.3 are not drawn. feet: draw them too, in the ankles'
    colours. Stroke sizes follow the picture's short side. Raises ValueError for other layouts, and for a
    point that has a score but lies at NaN.
    """
    canvas = np.zeros((3, height, width), np.float32)
    paint_skeleton(canvas, keypoints, scores, feet=feet, palette=palette)
    return canvas


def paint_skeleton(
    canvas: Pixels,
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    feet: bool = False,
    palette: Palette = OPENPOSE,
) -> None:
    """Paint the skeleton of `render_skeleton` onto a picture [3, H, W], in place."""
    points = _points_to_draw(keypoints, scores, width=canvas.shape[2], height=canvas.shape[1])
    size = (canvas.shape[1], canvas.shape[2])
    body, hands = [points[index] for index in BODY_POINTS], [points[hand] for hand in HANDS]
    layers = (
        *(_limbs(body, size, palette, feet), _joints(body, size, palette, feet)),
        *(_hands(hands, size, palette), _face(points[FACE], size, palette)),
    )
    for layer in chain(*layers):
        paint_layer(canvas, layer)


def _points_to_draw(keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int) -> Points:
    """The 133 keypoints and the neck (between the shoulders); None for points that are not drawn."""
    require_person(keypoints, scores)
    drawn = scores >= SCORE_THRESHOLD
    if np.isnan(keypoints[drawn]).any():
        first = np.flatnonzero(drawn & np.isnan(keypoints).any(axis=1))[0]
        raise ValueError(f"keypoint {first} has score {scores[first]} but lies at NaN: its score should be 0")
    near = np.clip(keypoints.astype(np.float64), -FARTHEST, np.array([width, height]) - 1 + FARTHEST)
    points: Points = [(x, y) if seen else None for (x, y), seen in zip(near.tolist(), drawn.tolist(), strict=True)]
    left, right = points[JOINTS["left_shoulder"]], points[JOINTS["right_shoulder"]]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    return [*points, neck]


def _limbs(points: Points, size: Size, palette: Palette, feet: bool) -> Iterator[Layer]:
    half_width = _scaled(LIMB_HALF_WIDTH, LEAST_LIMB_HALF_WIDTH, size)
    layers = [[(*LIMBS[limb], palette.limbs[limb]) for limb in pair] for pair in _mirror_pairs(LIMB_MIRROR)]
    if feet:
        layers += [[(ankle, foot, palette.points[ankle]) for ankle, foot in pair] for pair in FEET_BONES]
    for layer in layers:
        yield [ellipse(points[start], points[end], half_width, size, _dimmed(colour)) for start, end, colour in layer]


def _joints(points: Points, size: Size, palette: Palette, feet: bool) -> Iterator[Layer]:
    radius = _scaled(LIMB_HALF_WIDTH, LEAST_LIMB_HALF_WIDTH, size)
    layers = [[(point, palette.points[point]) for point in pair] for pair in _mirror_pairs(POINT_MIRROR)]
    if feet:
        layers += [[(foot, palette.points[ankle]) for ankle, foot in pair] for pair in FEET_BONES]
    joints = list(chain(*layers))
    drawn = iter(discs([points[joint] for joint, _ in joints], radius, size, [colour for _, colour in joints]))
    for layer in layers:
        yield list(islice(drawn, len(layer)))


def _hands(hands: list[Points], size: Size, palette: Palette) -> Iterator[Layer]:
    half_width = _scaled(HAND_HALF_WIDTH, LEAST_HAND_HALF_WIDTH, size)
    for (start, end), colour in zip(HAND_BONES, palette.hand_bones, strict=True):
        yield [line(hand[start], hand[end], half_width, size, colour) for hand in hands]
    radius = _scaled(HAND_RADIUS, LEAST_HAND_RADIUS, size)
    yield [union(discs(hand, radius, size, [palette.hand_point] * len(hand))) for hand in hands]


def _face(face: Points, size: Size, palette: Palette) -> Iterator[Layer]:
    radius = _scaled(FACE_RADIUS, LEAST_FACE_RADIUS, size)
    yield [union(discs(face, radius, size, [palette.face_point] * len(face)))]


def _scaled(reference: float, least: float, size: Size) -> float:
    return max(reference * min(size) / REFERENCE_SIDE, least)


def _mirror_pairs(mirror: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every part once, together with its counterpart on the other side; parts of the middle alone."""
    return [(part,) if part == other else (part, other) for part, other in enumerate(mirror) if part <= other]


def _dimmed(colour: Colour) -> Colour:
    red, green, blue = colour
    return red * LIMB_BRIGHTNESS, green * LIMB_BRIGHTNESS, blue * LIMB_BRIGHTNESS
