"""A triangle rasteriser in numpy: many moments of one mesh at once, with a depth buffer for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hia.synthetic.kinematics import Array

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Triangles are drawn in groups by the sides of their boxes, each group as one array.
BOX_SIDES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096])
# Edges belong to both of their triangles: a gap would let the background through.
EDGE = 1e-4
DEPTH_BITS = 24
FRAGMENT_BITS = 36


@dataclass(frozen=True, eq=False)
class Fragments:
    """The nearest surface at each covered pixel. All [N].

    moment: index of the moment; pixel: row · width + column; triangle: index in the mesh; second, third: barycentric
    weights of the triangle's second and third corner; depth: z of the surface.
    """

    moment: Indices
    pixel: Indices
    triangle: Indices
    second: Floats
    third: Floats
    depth: Floats

    def interpolate(self, values: NDArray, triangles: Indices) -> NDArray:
        """Values of the mesh's points, [V] or one row per moment [T, V], at the fragments.   → [N]"""
        index = self.triangle if values.ndim == 1 else self.moment * len(triangles) + self.triangle
        first, second, third = (values[..., corner] for corner in triangles.T)
        at_fragments = (second - first).ravel()[index] * self.second
        at_fragments += (third - first).ravel()[index] * self.third
        at_fragments += first.ravel()[index]
        return at_fragments


def rasterise(points: Floats, triangles: Indices, width: int, height: int) -> Fragments:
    """Find the nearest front faces at the centres of pixels.

    points [T, V, 3]: T moments of V points, x and y in pixels (whole numbers are centres), larger z is nearer;
    triangles [F, 3], wound so that those that face the viewer turn from x to −y.
    """
    moment, triangle, x, y, z = _facing(points, triangles)
    left, right = _pixels_between(x, width)
    top, bottom = _pixels_between(y, height)
    hit = np.flatnonzero((right >= left) & (bottom >= top))
    moment, triangle, left, right, top, bottom = (each[hit] for each in (moment, triangle, left, right, top, bottom))
    x, y, z = (each[:, hit] for each in (x, y, z))
    edges = _edges(x - left, y - top)
    columns, rows = (np.searchsorted(BOX_SIDES, last - first + 1) for first, last in ((left, right), (top, bottom)))
    group = columns * len(BOX_SIDES) + rows
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    covered = []
    for chosen in np.split(order, ends) if len(order) else []:
        box = int(BOX_SIDES[columns[chosen[0]]]), int(BOX_SIDES[rows[chosen[0]]])
        covered.append(_cover(chosen, edges[:, chosen], (left[chosen], top[chosen]), box, (width, height)))
    if not covered:
        no_index, no_value = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return Fragments(no_index, no_index, no_index, no_value, no_value, no_value)
    drawn, pixel, second, third = (np.concatenate(each) for each in zip(*covered, strict=True))
    depth = z[0][drawn] + second * (z[1] - z[0])[drawn] + third * (z[2] - z[0])[drawn]
    seen = _nearest(moment[drawn] * (width * height) + pixel, depth, len(points) * width * height)
    drawn = drawn[seen]
    return Fragments(moment[drawn], pixel[seen], triangle[drawn], second[seen], third[seen], depth[seen])


def _facing(points: Floats, triangles: Indices) -> tuple[Indices, Indices, Floats, Floats, Floats]:
    """The faces turned to the viewer: moment [K], triangle [K], and x, y, z of their corners, [3, K] each."""
    x, y = (np.stack([points[..., axis][:, corner] for corner in triangles.T]) for axis in (0, 1))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    kept = np.flatnonzero(area < -1e-9)
    moment, triangle = np.divmod(kept, len(triangles))
    x, y = (each.reshape(3, -1)[:, kept] for each in (x, y))
    corners = moment * points.shape[1] + triangles[triangle].T
    return moment, triangle, x, y, np.ascontiguousarray(points[..., 2]).ravel()[corners]


def _pixels_between(corners: Floats, size: int) -> tuple[Indices, Indices]:
    """First and last pixel centre between the corners [3, K], within 0..size − 1.   → [K] each"""
    first = np.minimum(np.minimum(corners[0], corners[1]), corners[2])
    last = np.maximum(np.maximum(corners[0], corners[1]), corners[2])
    return np.ceil(np.maximum(first, 0)).astype(np.int64), np.floor(np.minimum(last, size - 1)).astype(np.int64)


def _edges(x: Array, y: Array) -> Floats:
    """Barycentric weights of second and third corner as affine functions of the position in the box.   → [6, K]"""
    x, y = x.astype(np.float32), y.astype(np.float32)
    bx, by, cx, cy = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    inverse = 1 / (bx * cy - by * cx)
    second = np.stack([cy, -cx, cx * y[0] - cy * x[0]]) * inverse
    third = np.stack([-by, bx, by * x[0] - bx * y[0]]) * inverse
    return np.concatenate([second, third])


def _cover(
    chosen: Indices, edges: Floats, corner: tuple[Indices, Indices], box: tuple[int, int], size: tuple[int, int]
) -> tuple[Indices, Indices, Floats, Floats]:
    """Pixels of a picture of `size` inside triangles whose boxes, from `corner`, fit into `box` (columns, rows).

    Returns the triangle, the pixel and the weights of its second and third corner, [N] each.
    """
    (columns, rows), (width, height) = box, size
    column, row = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)
    px, py, p0, qx, qy, q0 = edges[:, :, None]
    second = (px * column)[:, None, :] + (py * row + p0)[:, :, None]
    third = (qx * column)[:, None, :] + (qy * row + q0)[:, :, None]
    least = np.minimum(second, third)
    np.minimum(least, 1 - second - third, out=least)
    hits = np.flatnonzero(least >= -EDGE)
    which, place = np.divmod(hits, columns * rows)
    down, right = np.divmod(place, columns)
    right += corner[0][which]
    down += corner[1][which]
    inside = (right < width) & (down < height)
    if not inside.all():
        which, right, down, hits = which[inside], right[inside], down[inside], hits[inside]
    return chosen[which], down * width + right, second.ravel()[hits], third.ravel()[hits]


def _nearest(place: Indices, depth: Floats, places: int) -> Indices:
    """Index of the nearest fragment at each place that has any; the last of equals."""
    spread = max(float(np.ptp(depth)), 1e-9)
    nearness = ((depth - depth.min()) / spread * (2**DEPTH_BITS - 1)).astype(np.int64) + 1
    keys = (nearness << FRAGMENT_BITS) | np.arange(len(place))
    buffer = np.zeros(places, np.int64)
    np.maximum.at(buffer, place, keys)
    return buffer[buffer > 0] & (2**FRAGMENT_BITS - 1)
