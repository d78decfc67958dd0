"""Frames as the networks of video metrics get them: padded to squares (paper A.2), scaled, cut into clips."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hia.images import Frame

BLACK = 0


def pad_square(frames: Frame, colour: int = BLACK) -> Frame:
    """Pictures in the middle of squares: uint8 [N, H, W, 3] → [N, S, S, 3], S the longer side, `colour` around them.

    Where an odd number of pixels is missing, the one more is below or at the right.
    """
    height, width = frames.shape[1:3]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((len(frames), side, side, 3), colour, np.uint8)
    square[:, top : top + height, left : left + width] = frames
    return square


def scaled(frames: Frame, side: int) -> Tensor:
    """uint8 [N, H, W, 3] → float32 [N, 3, side, side] on 0–255: Pillow's bicubic filter, anti-aliased, not clipped.

    Like DisCo's, which scales every channel in floating point, so that values overshoot at edges.
    """
    resized = [[_scaled_channel(frame[..., channel], side) for channel in range(3)] for frame in frames]
    return torch.from_numpy(np.array(resized, np.float32))


def clip_starts(num_frames: int, length: int, stride: int) -> range:
    """First frames of all whole clips; what is left at the end, less than a clip, belongs to none."""
    return range(0, num_frames - length + 1, stride)


def filled_up(frames: Frame, length: int) -> Frame:
    """The video with its last frame repeated until its length is a multiple of `length` (DisCo's FID-VID)."""
    missing = -len(frames) % length
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])


def _scaled_channel(channel: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(channel.astype(np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)
