"""Frames as JPEG: what the store keeps of a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.images import Frame

# JPEG decodes to these shares of its size at a fraction of the cost, straight from its 8×8 blocks.
REDUCED = {1: cv2.IMREAD_COLOR_RGB, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}


# Up to this width colour keeps its full resolution; beyond, at half of it, frames decode faster and show no difference.
FULL_COLOUR_WIDTH = 320


def encode_jpeg(frame: Frame, quality: int) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] → the bytes of a JPEG, uint8 [n]."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if frame.shape[1] <= FULL_COLOUR_WIDTH:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a frame of {frame.shape[1]}×{frame.shape[0]} cannot be made a JPEG")
    return data.reshape(-1).astype(np.uint8, copy=False)


def decode_jpeg(data: NDArray[np.uint8], reduction: int = 1) -> Frame:
    """The bytes of a JPEG → RGB uint8 [H/r, W/r, 3]; reduction r is 1, 2 or 4 (sizes are rounded up).

    Raises ValueError when the bytes are no JPEG.
    """
    frame = cv2.imdecode(data, REDUCED[reduction])
    if frame is None:
        raise ValueError("a frame's JPEG is damaged")
    rgb = frame if reduction == 1 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return rgb.astype(np.uint8, copy=False)
