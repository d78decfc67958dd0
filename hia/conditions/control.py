"""The control image, input of the pose branch: skeleton, hand movement and hand sharpness (paper sec. 3.2)."""

import numpy as np
from numpy.typing import NDArray

from hia.conditions.regions import Box, hand_boxes
from hia.pose.keypoints import HANDS
from hia.pose.render import paint_skeleton

SKELETON_CHANNELS, BLUR_CHANNELS = 3, 3


def render_control(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    movement: NDArray[np.floating],
    sharpness: NDArray[np.floating],
    width: int,
    height: int,
    *,
    feet: bool = False,
    blur: bool = True,
) -> NDArray[np.float32]:
    """The control image of one frame, float32 [6, height, width]; without blur [3, height, width], the skeleton alone.

    Channels 0–2: the skeleton, RGB in [0, 1]. Channels 3–5: v_x, v_y in [−1, 1] and s in [0, 1], filled into each
    hand's box, else 0. In the overlap of two boxes, the hand with the higher mean score is on top (if equal, the
    smaller box, then the lower).

    keypoints [133, 2] px; scores [133]; movement [2 hands, 2] from `hand_movement`; sharpness [2 hands] as
    normalised by `SharpnessScale`, NaN counts as 0. Raises ValueError for other layouts and values out of range.
    """
    _check_values(movement, sharpness)
    control = np.zeros((SKELETON_CHANNELS + blur * BLUR_CHANNELS, height, width), np.float32)
    paint_skeleton(control[:SKELETON_CHANNELS], keypoints, scores, feet=feet)
    if not blur:
        return control
    boxes = hand_boxes(keypoints, scores, width, height)
    hands = [(index, box) for index, box in enumerate(boxes) if box is not None]
    for index, box in sorted(hands, key=lambda hand: _precedence(scores[HANDS[hand[0]]], hand[1])):
        values = np.array([*movement[index], np.nan_to_num(sharpness[index])], np.float32)
        control[SKELETON_CHANNELS:, box.top : box.bottom, box.left : box.right] = values[:, None, None]
    return control


def _precedence(scores: NDArray[np.floating], box: Box) -> tuple[float, int, int]:
    """Sort key of overlapping hands: the largest is drawn on top. It is the same in a mirror."""
    return float(scores.mean()), -(box.right - box.left) * (box.bottom - box.top), box.bottom


def flip_conditions(
    movement: NDArray[np.floating], sharpness: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The conditions of the mirrored video: v_x → −v_x, hands exchanged. The inputs stay as they are.

    movement [..., 2 hands, 2]; sharpness [..., 2 hands].
    """
    return movement[..., ::-1, :] * np.array([-1, 1], movement.dtype), sharpness[..., ::-1].copy()


def _check_values(movement: NDArray[np.floating], sharpness: NDArray[np.floating]) -> None:
    if movement.shape != (2, 2) or sharpness.shape != (2,):
        raise ValueError(
            f"movement must be [2 hands, 2] and sharpness [2 hands], not {list(movement.shape)} "
            f"and {list(sharpness.shape)}"
        )
    if not (np.abs(movement) <= 1).all():
        raise ValueError(f"movement must lie in [−1, 1], not {movement.tolist()}: use hand_movement")
    if not ((sharpness >= 0) & (sharpness <= 1) | np.isnan(sharpness)).all():
        raise ValueError(
            f"sharpness must lie in [0, 1] or be NaN, not {sharpness.tolist()}: normalise it with a SharpnessScale"
        )
