"""The crop of a clip: the person's extent over all its frames, in the target's aspect ratio."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.images import Frame
from hia.pose.keypoints import FACE, SCORE_THRESHOLD

# Share of the frames left out at each end of the distribution of box edges: otherwise, one misplaced keypoint in one
# frame would enlarge the crop, and so shrink the person, in all of them.
STRAY_FRAMES = 0.005

# The face's points end at the brows; hair reaches about this far above them, in heights from brows to chin.
HAIR = 0.75

# Crops are multiples of the reduced aspect ratio (4:7 for 512×896), so they have it exactly, unless its numbers are
# larger than this.
LARGEST_PORTION = 64

# Pixels in all by which a crop may cut the person's extent, to avoid padding narrower than this: a frame of 1920×1080
# holds 4:7 only in 616×1078, and a person who fills its height should not get black bars.
RIM = 8


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole source pixels, which may extend over the frame's edges, and its size after scaling.

    Pixel columns left … left + width − 1, rows top … top + height − 1. The source's frames are source_width ×
    source_height px; the rest of the rectangle is padded with black.
    """

    left: int
    top: int
    width: int
    height: int
    source_width: int
    source_height: int
    target_width: int
    target_height: int

    @property
    def upscale(self) -> float:
        """Target pixels per source pixel."""
        return self.target_height / self.height

    @property
    def content(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the part that is not padding, in target pixels, half open."""
        columns, rows = (self.target_width, self.width), (self.target_height, self.height)
        left, top = _ceil(max(0, -self.left), *columns), _ceil(max(0, -self.top), *rows)
        right = (min(self.left + self.width, self.source_width) - self.left) * columns[0] // columns[1]
        bottom = (min(self.top + self.height, self.source_height) - self.top) * rows[0] // rows[1]
        return left, top, right, bottom

    @property
    def padding(self) -> float:
        """Share of the rectangle that lies outside the frame."""
        inside_width = min(self.left + self.width, self.source_width) - max(0, self.left)
        inside_height = min(self.top + self.height, self.source_height) - max(0, self.top)
        return 1 - inside_width * inside_height / (self.width * self.height)

    def apply(self, frame: Frame) -> Frame:
        """Cut and scale one frame, RGB uint8 [source height, source width, 3] → [target height, target width, 3]."""
        right, bottom = self.left + self.width, self.top + self.height
        inside = frame[
            max(0, self.top) : min(bottom, self.source_height), max(0, self.left) : min(right, frame.shape[1])
        ]
        borders = (-self.top, bottom - self.source_height, -self.left, right - self.source_width)
        if max(borders) > 0:
            top, bottom, left, right = (max(0, border) for border in borders)
            inside = np.pad(inside, ((top, bottom), (left, right), (0, 0)))
        interpolation = cv2.INTER_AREA if self.upscale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(inside, (self.target_width, self.target_height), interpolation=interpolation)
        return scaled.astype(np.uint8, copy=False)

    def move(self, keypoints: NDArray[np.floating]) -> NDArray[np.float32]:
        """Keypoints [..., 2] in source pixels → in target pixels, by the transform of `apply`."""
        scale = np.array([self.target_width / self.width, self.target_height / self.height])
        moved = (keypoints.astype(np.float64) + 0.5 - (self.left, self.top)) * scale - 0.5
        return moved.astype(np.float32)


def plan_crop(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    margin: float,
) -> Crop:
    """The crop for a clip: keypoints [N, 133, 2] px, scores [N, 133]; sizes are (width, height) in px.

    It contains the person's extent over all frames plus `margin` (a share of the extent) on each side. Where the frame
    is too small for that, the margin shrinks first. Only an extent that no crop inside the frame can contain is padded,
    and padding of less than `RIM` px is avoided by cutting the extent. Raises ValueError when no keypoint is seen in
    any frame.
    """
    extent = person_extent(keypoints, scores, *source_size)
    if extent is None:
        raise ValueError("no keypoint of the person lies inside a frame")
    left, top, right, bottom = extent
    # Sizes are counted in portions of the reduced aspect ratio, such as 4×7 px.
    across, down = _portion(target_size)
    least = max((right - left) / across, (bottom - top) / down)
    fitting = math.floor(min(source_size[0] / across, source_size[1] / down))
    fits = fitting > 0 and least < fitting + min(1.0, RIM / max(across, down))
    portions = min(math.ceil(least * (1 + 2 * margin)), fitting) if fits else math.ceil(least)
    width, height = round(portions * across), round(portions * down)
    return Crop(
        _place((left + right) / 2, width, source_size[0]),
        _place((top + bottom) / 2, height, source_size[1]),
        width,
        height,
        *source_size,
        *target_size,
    )


def person_extent(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom edges in px around the seen points of all frames and the hair, within the frame.

    None when no point is seen in any frame.
    """
    boxes = [box for person in zip(keypoints, scores, strict=True) if (box := _person_box(*person)) is not None]
    if not boxes:
        return None
    edges = np.array(boxes)
    low = np.quantile(edges[:, :2], STRAY_FRAMES, axis=0)
    high = np.quantile(edges[:, 2:], 1 - STRAY_FRAMES, axis=0)
    (left, top), (right, bottom) = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _person_box(points: NDArray[np.floating], scores: NDArray[np.floating]) -> tuple[float, ...] | None:
    """Left, top, right, bottom edges of one frame's seen points."""
    seen = scores >= SCORE_THRESHOLD
    if not seen.any():
        return None
    low, high = points[seen].min(axis=0).astype(float), points[seen].max(axis=0).astype(float)
    face = points[FACE][seen[FACE]]
    if len(face):
        low[1] = min(low[1], face[:, 1].min() - HAIR * np.ptp(face[:, 1]))
    return (*low, *(high + 1))


def _ceil(value: int, times: int, by: int) -> int:
    """value · times / by, rounded up; in integers, because floating-point results may be slightly off."""
    return -(-value * times // by)


def _portion(target_size: tuple[int, int]) -> tuple[float, float]:
    """The smallest size in the target's aspect ratio: in whole pixels, unless the ratio's numbers are large."""
    common = math.gcd(*target_size)
    width, height = target_size[0] / common, target_size[1] / common
    shrink = max(1.0, max(width, height) / LARGEST_PORTION)
    return width / shrink, height / shrink


def _place(centre: float, length: int, available: int) -> int:
    """First pixel of an interval of `length` around a centre, moved inside the frame; a longer one covers the frame."""
    first = round(centre - length / 2)
    return min(max(first, min(0, available - length)), max(0, available - length))
