"""Pictures of the driving signal, beside or over the result. All frames RGB uint8 [H, W, 3]."""

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.conditions.control import BLUR_CHANNELS, SKELETON_CHANNELS
from hia.images import Frame

INSET_SHARE = 0.3


def skeleton_picture(control: NDArray[np.float32]) -> Frame:
    """The skeleton of a control image [K, H, W]."""
    return _to_uint8(control[:SKELETON_CHANNELS])


def blur_picture(control: NDArray[np.float32]) -> Frame:
    """The blur condition of a control image [K, H, W], K ≥ 6: v_x and v_y as red and green (0.5 is rest), s as blue.

    Black where there is no hand.
    """
    movement_x, movement_y, sharpness = blur = control[SKELETON_CHANNELS : SKELETON_CHANNELS + BLUR_CHANNELS]
    hands = (blur != 0).any(axis=0)
    return _to_uint8(np.stack([(movement_x + 1) / 2, (movement_y + 1) / 2, sharpness]) * hands)


def with_insets(frame: Frame, control: NDArray[np.float32], blur: bool = True) -> Frame:
    """The frame with its skeleton at the top left and its blur condition at the top right (paper Fig. 1).

    blur: True if the control image has a blur condition.
    """
    height, width = frame.shape[:2]
    inset_width, inset_height = max(1, round(width * INSET_SHARE)), max(1, round(height * INSET_SHARE))
    result = frame.copy()
    insets = [(skeleton_picture(control), 0)]
    insets += [(blur_picture(control), width - inset_width)] if blur else []
    for picture, left in insets:
        inset = cv2.resize(picture, (inset_width, inset_height), interpolation=cv2.INTER_AREA)
        result[:inset_height, left : left + inset_width] = inset
    return result


def side_by_side(*pictures: Frame) -> Frame:
    """Pictures of one size in a row."""
    return np.concatenate(pictures, axis=1)


def _to_uint8(image: NDArray[np.floating]) -> Frame:
    """float [3, H, W] in [0, 1] → uint8 [H, W, 3]"""
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
