"""Regions of a frame from its keypoints: boxes of hands and face, masks, five face points (paper sec. 3.1).

Lengths in pixels refer to a frame 512 px wide and scale with the width, so that a smaller frame gives the same
regions.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import FACE, HANDS, SCORE_THRESHOLD, require_person

REFERENCE_WIDTH = 512

# Padding is the share of the points' box that is added on each of its sides.
HAND_PADDING = 0.25
HAND_LEAST_POINTS = 6
HAND_LEAST_SIDE = 32
FACE_PADDING = 0.15
# The same share of the face's 68 points as 6 are of a hand's 21.
FACE_LEAST_POINTS = 20

# A face is usable for identity when its box is this large on its smaller side, and its eyes lie this far apart,
# measured in the distance from eyes to mouth (about 0.85 in the ArcFace template, 0.5 when turned by some 55°).
USABLE_FACE_SIDE = 48
USABLE_EYE_DISTANCE = 0.5

# Among the 68 face points: the eyes as seen in the image, left then right; tip of the nose; corners of the mouth.
EYES = (slice(36, 42), slice(42, 48))
NOSE_TIP = 30
MOUTH_CORNERS = (48, 54)


class Box(NamedTuple):
    """Whole pixels, half open: columns left..right − 1 and rows top..bottom − 1."""

    left: int
    top: int
    right: int
    bottom: int


def hand_boxes(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int
) -> tuple[Box | None, Box | None]:
    """Boxes of the left and the right hand: square, 25 % padding, at least 32 px on a frame 512 px wide.

    keypoints [133, 2] px; scores [133]. None for a hand with fewer than 6 points of score 0.3 or more, or outside
    the frame. Square up to the rounding outwards to whole pixels, and before the clipping to the frame.
    """
    require_person(keypoints, scores)
    left, right = (_hand_box(keypoints[hand], scores[hand], width, height) for hand in HANDS)
    return left, right


def face_box(keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int) -> Box | None:
    """Box of the face's 68 points with 15 % padding.   Arguments as for `hand_boxes`.

    None with fewer than 20 points of score 0.3 or more, or when it lies outside the frame.
    """
    require_person(keypoints, scores)
    points = keypoints[FACE][scores[FACE] >= SCORE_THRESHOLD].astype(np.float64)
    if len(points) < FACE_LEAST_POINTS:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return _clipped((low + high) / 2, (high - low) * (1 + 2 * FACE_PADDING), width, height)


def box_mask(boxes: Iterable[Box | None], width: int, height: int) -> NDArray[np.float32]:
    """1 inside any of the boxes, else 0: float32 [1, height, width]. None is no box."""
    mask = np.zeros((1, height, width), np.float32)
    for box in boxes:
        if box is not None:
            mask[:, box.top : box.bottom, box.left : box.right] = 1
    return mask


def five_points(keypoints: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.float32] | None:
    """ArcFace's five points, float32 [5, 2] px: left eye, right eye, nose tip, left and right corner of the mouth.

    Left and right as seen in the image. Eyes are the means of their six points. None when one of the points
    needed has a score below 0.3.
    """
    require_person(keypoints, scores)
    face, seen = keypoints[FACE].astype(np.float64), scores[FACE] >= SCORE_THRESHOLD
    needed = np.r_[EYES[0], EYES[1], NOSE_TIP, MOUTH_CORNERS]
    if not seen[needed].all():
        return None
    eyes = [face[eye].mean(axis=0) for eye in EYES]
    return np.stack([*eyes, face[NOSE_TIP], *face[list(MOUTH_CORNERS)]]).astype(np.float32)


def face_is_usable(points: NDArray[np.floating] | None, box: Box | None, width: int) -> bool:
    """Check whether a face is large enough, and turned to the front enough, to compare identities.

    points: `five_points`; box: `face_box`; width of the frame in px. True when

    - the box's smaller side is at least 48 px on a frame 512 px wide;
    - the nose tip, projected on the line through the eyes, falls between them;
    - the eyes lie at least 0.5 times as far apart as their middle from the middle of the mouth;
    - the mouth is below the eyes, if the first eye is on the left.
    """
    if points is None or box is None:
        return False
    if min(box.right - box.left, box.bottom - box.top) < USABLE_FACE_SIDE * width / REFERENCE_WIDTH:
        return False
    eye, other_eye, nose, *mouth = points.astype(np.float64)
    axis = other_eye - eye
    down = np.mean(mouth, axis=0) - (eye + other_eye) / 2
    turned_away = not 0 < axis @ (nose - eye) < axis @ axis
    upright = axis[0] * down[1] - axis[1] * down[0] > 0
    return bool(upright and not turned_away and math.hypot(*axis) >= USABLE_EYE_DISTANCE * math.hypot(*down))


def _hand_box(points: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int) -> Box | None:
    seen = points[scores >= SCORE_THRESHOLD].astype(np.float64)
    if len(seen) < HAND_LEAST_POINTS:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = (high - low).max() * (1 + 2 * HAND_PADDING)
    least = HAND_LEAST_SIDE * width / REFERENCE_WIDTH
    return _clipped((low + high) / 2, np.full(2, max(side, least)), width, height)


def _clipped(centre: NDArray[np.float64], extent: NDArray[np.float64], width: int, height: int) -> Box | None:
    """The pixels that a box touches, inside the frame; None when there are none.

    A pixel's edges lie half a pixel from its centre. Rounding outwards is the same in a mirror; rounding to the nearest
    is not.
    """
    limits = (width, height)
    low = np.floor(np.clip(centre - extent / 2 + 0.5, 0, limits)).astype(int)
    high = np.ceil(np.clip(centre + extent / 2 + 0.5, 0, limits)).astype(int)
    if (low >= high).any():
        return None
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
