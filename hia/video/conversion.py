"""Conversion of decoded frames to upright RGB pictures with square pixels."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from hia.images import Frame

# The largest side in pixels; larger videos are refused before anything is decoded.
MAX_SIDE = 8192

# Pixels with an aspect this near to 1 are taken as square: such headers come from rounding.
SQUARE = 0.005


class Converter:
    """Converts the frames of one stream; keeps the state of swscale, which is slow to set up, between frames.

    aspect: width of a pixel divided by its height.
    """

    def __init__(self, aspect: Fraction | None) -> None:
        self._aspect = float(aspect) if aspect and abs(aspect - 1) > SQUARE else 1.0
        self._reformatter = VideoReformatter()

    def size(self, frame: Any) -> tuple[int, int]:
        """Width and height of a frame's picture, upright and with square pixels."""
        width, height = self.stretched(frame.width, frame.height)
        return (height, width) if _orientation(frame)[0] else (width, height)

    def stretched(self, width: int, height: int) -> tuple[int, int]:
        """Width and height with square pixels, before turning. Never smaller: no detail is lost."""
        if self._aspect >= 1:
            return round(width * self._aspect), height
        return width, round(height / self._aspect)

    def image(self, frame: Any) -> Frame:
        """The picture, RGB uint8 [H, W, 3]: turned and mirrored by the display matrix, transparency on white."""
        width, height = self.stretched(frame.width, frame.height)
        transparent = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            format="rgba" if transparent else "rgb24",
            interpolation=Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        image = _on_white(converted) if transparent else converted
        transposed, mirrored, upended = _orientation(frame)
        if transposed:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[:: -1 if upended else 1, :: -1 if mirrored else 1])


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """The steps that turn the frame upright: exchange the axes; then mirror left and right; then up and down.

    From the display matrix [[a, b, u], [c, d, v], [x, y, w]] of FFmpeg: a point (p, q) goes to (a·p + c·q, b·p + d·q).
    Angles between quarter turns are taken as the nearest of them.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _on_white(image: NDArray[Any]) -> Frame:
    """RGBA uint8 [H, W, 4] → RGB."""
    colour, alpha = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
