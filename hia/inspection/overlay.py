"""Annotated frames of a clip: everything that was measured drawn on top, and hands enlarged."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.data.store.clip import Clip
from hia.images import Frame
from hia.pose.keypoints import BODY, SCORE_THRESHOLD
from hia.pose.render import LIMB_BRIGHTNESS, render_skeleton
from hia.visualization.text import DARK, INK, PANEL, Colour

# The person's left and right hand.
HAND_COLOURS: tuple[Colour, Colour] = ((255, 150, 50), (70, 190, 255))
FACE_COLOUR: Colour = (190, 242, 100)
POINT_COLOUR: Colour = (255, 105, 190)
FILLED_COLOUR: Colour = INK

SKELETON_OPACITY = 0.85
# OpenCV's drawing takes coordinates in such parts of a pixel (2⁴).
SHIFT = 4
# Radius in px of the ring around an interpolated point; those of face and hands lie closely.
BODY_RING, SMALL_RING = 4.0, 2.5
# Hands enlarged more than this show their pixels as squares: interpolation would look like blur.
LARGEST_SMOOTH_ZOOM = 3
STRIPES, STRIPE_PERIOD = ((40, 43, 52), (58, 62, 74)), 10
DASH_PERIOD = 10


class Tile(NamedTuple):
    """A picture of a frame and its scale relative to the frame."""

    picture: Frame
    scale: float


def annotated_frame(clip: Clip, index: int, height: int) -> Frame:
    """Frame `index`, `height` px high, with everything drawn in; RGB uint8 [height, W, 3].

    Skeleton over the frame; rings at interpolated keypoints; boxes of the hands and of the face (dashed when it is not
    usable for identity); the five face points; stripes where the frame is padding.
    """
    frame = clip.frame(index)
    tile = Tile(_resized(frame, round(frame.shape[1] * height / frame.shape[0]), height), height / frame.shape[0])
    _stripe_padding(tile, clip.info.content)
    filled = clip.filled[index] & (clip.keypoints.scores[index] >= SCORE_THRESHOLD)
    points = _moved(clip.keypoints.keypoints[index], tile.scale)
    _overlay_skeleton(tile.picture, points, clip.keypoints.scores[index], filled)
    _draw_box(tile, clip.face_boxes[index], FACE_COLOUR, dashed=not clip.face_usable[index])
    for box, colour in zip(clip.hand_boxes[index], HAND_COLOURS, strict=True):
        _draw_box(tile, box, colour)
    _draw_five_points(tile.picture, _moved(clip.five_points[index], tile.scale))
    return tile.picture


def hand_picture(clip: Clip, index: int, hand: int, side: int) -> Frame | None:
    """The content of a hand's box without annotations, undistorted in a square of `side` px; None without a box."""
    left, top, right, bottom = clip.hand_boxes[index, hand].tolist()
    if left < 0:
        return None
    crop = clip.frame(index)[top:bottom, left:right]
    zoom = side / max(crop.shape[:2])
    width, height = (max(1, round(length * zoom)) for length in (crop.shape[1], crop.shape[0]))
    picture = np.full((side, side, 3), PANEL, np.uint8)
    x, y = (side - width) // 2, (side - height) // 2
    picture[y : y + height, x : x + width] = _resized(crop, width, height, squares=True)
    return picture


def draw_ring(picture: Frame, x: float, y: float, radius: float, colour: Colour = FILLED_COLOUR) -> None:
    """A thin circle with a dark edge."""
    for shade, thickness in ((DARK, 3 if radius > SMALL_RING else 2), (colour, 1)):
        cv2.circle(picture, _fixed(x, y), round(radius * 2**SHIFT), shade, thickness, cv2.LINE_AA, SHIFT)


def draw_rectangle(picture: Frame, corners: tuple[int, int, int, int], colour: Colour, *, dashed: bool = False) -> None:
    """A frame of 2 px with a dark edge around it; corners: left, top, right, bottom, all inside it."""
    left, top, right, bottom = corners
    cv2.rectangle(picture, (left - 1, top - 1), (right + 1, bottom + 1), DARK, 1)
    cv2.rectangle(picture, (left, top), (right, bottom), DARK, 3)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.rectangle(mask, (left, top), (right, bottom), 1, 1)
    cv2.rectangle(mask, (left + 1, top + 1), (right - 1, bottom - 1), 1, 1)
    rows, columns = np.nonzero(mask)
    drawn = (rows + columns) % DASH_PERIOD < DASH_PERIOD / 2 if dashed else np.ones(len(rows), bool)
    picture[rows[drawn], columns[drawn]] = colour


def draw_point(picture: Frame, x: float, y: float) -> None:
    """A mark of one of the five face points."""
    cv2.circle(picture, _fixed(x, y), round(2.6 * 2**SHIFT), DARK, cv2.FILLED, cv2.LINE_AA, SHIFT)
    cv2.circle(picture, _fixed(x, y), round(1.8 * 2**SHIFT), POINT_COLOUR, cv2.FILLED, cv2.LINE_AA, SHIFT)


def stripes(width: int, height: int) -> Frame:
    """The striped pattern that marks padding, RGB uint8 [height, width, 3]."""
    rows, columns = np.indices((height, width))
    return np.array(STRIPES, np.uint8)[(rows + columns) // (STRIPE_PERIOD // 2) % 2]


def _resized(picture: Frame, width: int, height: int, *, squares: bool = False) -> Frame:
    zoom = height / picture.shape[0]
    smooth = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    interpolation = cv2.INTER_NEAREST if squares and zoom > LARGEST_SMOOTH_ZOOM else smooth
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation), np.uint8)


def _moved(points: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Points of the frame, in the scaled picture's pixels."""
    return (points + 0.5) * np.float32(scale) - np.float32(0.5)


def _stripe_padding(tile: Tile, content: tuple[int, int, int, int]) -> None:
    height, width = tile.picture.shape[:2]
    left, top, right, bottom = (round(edge * tile.scale) for edge in content)
    padding = np.ones((height, width), bool)
    padding[top:bottom, left:right] = False
    tile.picture[padding] = stripes(width, height)[padding]


def _overlay_skeleton(
    picture: Frame, points: NDArray[np.float32], scores: NDArray[np.float32], filled: NDArray[np.bool_]
) -> None:
    height, width = picture.shape[:2]
    skeleton = render_skeleton(points, scores, width, height, feet=True).transpose(1, 2, 0)
    # Its colours are bright, those of limbs dimmed: the brightest channel gives the covered share of a pixel.
    covered = np.clip(skeleton.max(axis=2) / LIMB_BRIGHTNESS, 0, 1)
    opacity = np.full((height, width), SKELETON_OPACITY, np.float32)
    rings = [(*points[index].tolist(), _ring_radius(index)) for index in np.flatnonzero(filled).tolist()]
    for x, y, radius in rings:
        cv2.circle(opacity, _fixed(x, y), round(radius * 2**SHIFT), 0, cv2.FILLED, cv2.LINE_AA, SHIFT)
    mixed = picture * (1 - covered * opacity)[..., None] + 255 * skeleton * opacity[..., None]
    picture[:] = np.clip(mixed, 0, 255).round().astype(np.uint8)
    for x, y, radius in rings:
        draw_ring(picture, x, y, radius)


def _ring_radius(keypoint: int) -> float:
    return BODY_RING if keypoint < BODY.stop else SMALL_RING


def _draw_box(tile: Tile, box: NDArray[np.int32], colour: Colour, *, dashed: bool = False) -> None:
    if box[0] < 0:
        return
    left, top, right, bottom = (round(edge * tile.scale) for edge in box.tolist())
    draw_rectangle(tile.picture, (left, top, right - 1, bottom - 1), colour, dashed=dashed)


def _draw_five_points(picture: Frame, points: NDArray[np.float32]) -> None:
    for x, y in points[~np.isnan(points).any(axis=1)].tolist():
        draw_point(picture, x, y)


def _fixed(x: float, y: float) -> tuple[int, int]:
    """Coordinates for OpenCV with SHIFT; points far outside are clamped to places that are not visible either."""
    return round(min(max(x, -1e4), 3e4) * 2**SHIFT), round(min(max(y, -1e4), 3e4) * 2**SHIFT)
