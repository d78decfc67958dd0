"""Shapes with smooth edges, drawn by the distance of each pixel's centre to their outline.

No rasteriser rounds coordinates: mirrored points give exactly the mirrored picture.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Colour = tuple[float, float, float]
Size = tuple[int, int]  # height and width of the picture
Pixels = NDArray[np.float32]


class Shape(NamedTuple):
    """A drawn shape: its top left pixel in the picture, the share of each pixel that it covers, and its RGB colour.

    coverage float32 [h, w] in [0, 1].
    """

    top: int
    left: int
    coverage: Pixels
    colour: Colour

    @property
    def bottom(self) -> int:
        return self.top + self.coverage.shape[0]

    @property
    def right(self) -> int:
        return self.left + self.coverage.shape[1]


def paint_layer(canvas: Pixels, shapes: Iterable[Shape | None]) -> None:
    """Paint one or two shapes on a picture [3, H, W] so that their order does not matter; None is no shape.

    A pixel that both cover gets the mean of their colours, weighted with the share that each covers.
    """
    layer = [shape for shape in shapes if shape is not None]
    shared = _shared(canvas, layer[0], layer[1]) if len(layer) == 2 else None
    for shape in layer:
        region = canvas[:, shape.top : shape.bottom, shape.left : shape.right]
        region *= 1 - shape.coverage
        region += shape.coverage * _planes(shape.colour)
    if shared is not None:
        rows, columns, pixels = shared
        canvas[:, rows, columns] = pixels


def ellipse(start: Point | None, end: Point | None, half_width: float, size: Size, colour: Colour) -> Shape | None:
    """An ellipse along a segment, 2·half_width px wide at its middle; a disc if the segment is shorter.

    None when an end is None, or when no part of it lies in the picture.
    """
    grid = _pixels_near(start, end, half_width + 1, size)
    if grid is None:
        return None
    top, left, along, across, half_length = grid
    return Shape(top, left, _ellipse_coverage(along, across, max(half_length, half_width), half_width), colour)


def line(start: Point | None, end: Point | None, half_width: float, size: Size, colour: Colour) -> Shape | None:
    """A line with round ends; a disc if it has no length. None as for `ellipse`."""
    grid = _pixels_near(start, end, half_width + 1, size)
    if grid is None:
        return None
    top, left, along, across, half_length = grid
    return Shape(top, left, _line_coverage(along, across, half_length, half_width), colour)


def discs(points: Sequence[Point | None], radius: float, size: Size, colours: Sequence[Colour]) -> list[Shape | None]:
    """A disc at each point. None as for `ellipse`."""
    reach = radius + 0.5
    high_x, high_y = size[1] - 1 + reach, size[0] - 1 + reach
    near = [i for i, p in enumerate(points) if p and -reach < p[0] < high_x and -reach < p[1] < high_y]
    shapes: list[Shape | None] = [None] * len(points)
    if not near:
        return shapes
    centres = np.array([points[index] for index in near])
    corners = np.floor(centres - reach).astype(int)
    offsets = np.arange(math.ceil(2 * reach) + 1) - (centres - corners)[:, :, None]
    squares = np.square(offsets).astype(np.float32)
    distance = np.sqrt(squares[:, 0, None, :] + squares[:, 1, :, None])
    distance -= radius
    for index, disc, (left, top) in zip(near, _coverage(distance), corners.tolist(), strict=True):
        shapes[index] = _cropped(top, left, disc, size, colours[index])
    return shapes


def union(shapes: Iterable[Shape | None]) -> Shape | None:
    """Shapes of one colour as one: each pixel is covered as much as by the shape that covers it most."""
    parts = [shape for shape in shapes if shape is not None]
    if not parts:
        return None
    top, left = min(part.top for part in parts), min(part.left for part in parts)
    bottom, right = max(part.bottom for part in parts), max(part.right for part in parts)
    whole = np.zeros((bottom - top, right - left), np.float32)
    for part in parts:
        window = whole[part.top - top : part.bottom - top, part.left - left : part.right - left]
        np.maximum(window, part.coverage, out=window)
    return Shape(top, left, whole, parts[0].colour)


def _pixels_near(
    start: Point | None, end: Point | None, reach: float, size: Size
) -> tuple[int, int, Pixels, Pixels, float] | None:
    """Top, left, pixels' distances along and across a segment from its middle, half the segment's length.

    The pixels [h, w] are the picture's in the segment's box, `reach` px wider; None when there are none.
    """
    if start is None or end is None:
        return None
    (start_x, start_y), (end_x, end_y) = start, end
    columns = _within(min(start_x, end_x) - reach, max(start_x, end_x) + reach, size[1])
    rows = _within(min(start_y, end_y) - reach, max(start_y, end_y) + reach, size[0])
    if not (columns and rows):
        return None
    length = math.dist(start, end)
    cosine, sine = ((end_x - start_x) / length, (end_y - start_y) / length) if length else (1.0, 0.0)
    # In float64 up to here: float32 coordinates would round differently in a mirror.
    x = (np.arange(columns.start, columns.stop) - (start_x + end_x) / 2).astype(np.float32)
    y = (np.arange(rows.start, rows.stop) - (start_y + end_y) / 2).astype(np.float32)[:, None]
    return rows.start, columns.start, x * cosine + y * sine, x * -sine + y * cosine, length / 2


def _within(low: float, high: float, size: int) -> range:
    """The pixels among 0..size − 1 that lie in an interval, or next to it."""
    return range(max(math.floor(low), 0), min(math.ceil(high), size - 1) + 1)


def _ellipse_coverage(along: Pixels, across: Pixels, half_length: float, half_width: float) -> Pixels:
    """Coverage from the distance to the outline, to first order: (f − 1) / |∇f| of f = (u/a)² + (v/b)². In place."""
    along *= 1 / half_length
    across *= 1 / half_width
    np.square(along, out=along)
    np.square(across, out=across)
    level = along + across
    along *= 1 / half_length**2
    across *= 1 / half_width**2
    along += across
    slope = np.sqrt(along, out=along)
    slope += np.float32(1e-12)
    level -= 1
    level /= slope
    level *= 0.5
    return _coverage(level)


def _line_coverage(along: Pixels, across: Pixels, half_length: float, half_width: float) -> Pixels:
    np.abs(along, out=along)
    along -= half_length
    np.maximum(along, 0, out=along)
    np.square(along, out=along)
    np.square(across, out=across)
    along += across
    distance = np.sqrt(along, out=along)
    distance -= half_width
    return _coverage(distance)


def _coverage(distance: Pixels) -> Pixels:
    """Share of a pixel within an outline at a signed distance in px. In place."""
    np.subtract(0.5, distance, out=distance)
    np.maximum(distance, 0, out=distance)
    return np.minimum(distance, 1, out=distance)


def _cropped(top: int, left: int, coverage: Pixels, size: Size, colour: Colour) -> Shape:
    """A shape from coverage that touches the picture, but may reach over its edges."""
    visible = coverage[max(-top, 0) : size[0] - top, max(-left, 0) : size[1] - left]
    return Shape(max(top, 0), max(left, 0), visible, colour)


def _planes(colour: Colour) -> Pixels:
    """A colour [3, 1, 1] that fills pictures [3, h, w]."""
    return np.array(colour, np.float32)[:, None, None]


def _shared(canvas: Pixels, one: Shape, other: Shape) -> tuple[slice, slice, Pixels] | None:
    """Rows and columns in which the boxes of two shapes meet, and the picture there with neither on top."""
    top, bottom = max(one.top, other.top), min(one.bottom, other.bottom)
    left, right = max(one.left, other.left), min(one.right, other.right)
    if top >= bottom or left >= right:
        return None
    rows, columns = slice(top, bottom), slice(left, right)
    first, second = (_part(shape, rows, columns) for shape in (one, other))
    clear = (1 - first) * (1 - second)
    share = (1 - clear) / (first + second + np.float32(1e-12))
    colours = first * _planes(one.colour) + second * _planes(other.colour)
    return rows, columns, canvas[:, rows, columns] * clear + share * colours


def _part(shape: Shape, rows: slice, columns: slice) -> Pixels:
    top, left = shape.top, shape.left
    return shape.coverage[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
