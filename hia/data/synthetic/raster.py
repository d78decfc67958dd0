"""A triangle rasteriser in numpy: many moments of one mesh at once, with a depth buffer for each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """What is seen: of each covered pixel the nearest surface. All [N].

    moment: which of the moments; pixel: row · width + column; triangle: of the mesh; second, third: barycentric
    weights of the triangle's second and third corner; depth: as given.
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
    """The nearest front faces at the centres of pixels.

    points [T, V, 3]: T moments of V points, x and y in pixels (whole numbers are centres), larger z is nearer;
    triangles [F, 3], wound so that those that face the viewer turn from x to −y.
    """
    moment, triangle, corners = _facing(points, triangles)
    low = np.maximum(np.ceil(corners[..., :2].min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners[..., :2].max(axis=1)), (width - 1, height - 1)).astype(np.int64)
    hit = np.flatnonzero((high >= low).all(axis=1))
    moment, triangle, corners, low, high = (each[hit] for each in (moment, triangle, corners, low, high))
    edges = _edges(corners, low)
    group = np.searchsorted(BOX_SIDES, high - low + 1) @ (len(BOX_SIDES), 1)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    found = []
    for chosen in np.split(order, ends) if len(order) else []:
        columns, rows = (int(BOX_SIDES[side]) for side in divmod(int(group[chosen[0]]), len(BOX_SIDES)))
        found.append(_cover(chosen, edges[:, chosen], low[chosen], (columns, rows), (width, height)))
    if not found:
        empty, none = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return Fragments(empty, empty, empty, none, none, none)
    drawn, pixel, second, third = (np.concatenate(each) for each in zip(*found, strict=True))
    first, *others = corners[..., 2].T
    depth = first[drawn]
    for weight, other in zip((second, third), others, strict=True):
        depth += weight * (other - first)[drawn]
    seen = _nearest(moment[drawn] * (width * height) + pixel, depth, len(points) * width * height)
    drawn = drawn[seen]
    return Fragments(moment[drawn], pixel[seen], triangle[drawn], second[seen], third[seen], depth[seen])


def _facing(points: Floats, triangles: Indices) -> tuple[Indices, Indices, Floats]:
    """Moment [K], triangle [K] and corners [K, 3, 3] of the faces that are turned to the viewer."""
    x, y = points[..., 0], points[..., 1]
    first, second, third = triangles.T
    ax, ay = x[:, first], y[:, first]
    area = (x[:, second] - ax) * (y[:, third] - ay) - (y[:, second] - ay) * (x[:, third] - ax)
    moment, triangle = np.nonzero(area < -1e-9)
    return moment, triangle, points[moment[:, None], triangles[triangle]]


def _edges(corners: Floats, low: Indices) -> Floats:
    """Barycentric weights of the second and third corner as affine functions of the place in the box.   → [6, K]"""
    x, y = corners[..., 0] - low[:, :1], corners[..., 1] - low[:, 1:]
    x, y = x.astype(np.float32), y.astype(np.float32)
    bx, by, cx, cy = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    inverse = 1 / (bx * cy - by * cx)
    second = np.stack([cy, -cx, cx * y[:, 0] - cy * x[:, 0]]) * inverse
    third = np.stack([-by, bx, by * x[:, 0] - bx * y[:, 0]]) * inverse
    return np.concatenate([second, third])


def _cover(
    chosen: Indices, edges: Floats, low: Indices, box: tuple[int, int], size: tuple[int, int]
) -> tuple[Indices, Indices, Floats, Floats]:
    """Pixels of a picture of `size` inside triangles whose boxes fit into `box` (columns, rows).

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
    right += low[which, 0]
    down += low[which, 1]
    inside = (right < width) & (down < height)
    if not inside.all():
        which, right, down, hits = which[inside], right[inside], down[inside], hits[inside]
    return chosen[which], down * width + right, second.ravel()[hits], third.ravel()[hits]


def _nearest(place: Indices, depth: Floats, places: int) -> Indices:
    """Which of the fragments is the nearest at each place that has any; the last of equals."""
    spread = max(float(np.ptp(depth)), 1e-9)
    nearness = ((depth - depth.min()) / spread * (2**DEPTH_BITS - 1)).astype(np.int64) + 1
    keys = (nearness << FRAGMENT_BITS) | np.arange(len(place))
    buffer = np.zeros(places, np.int64)
    np.maximum.at(buffer, place, keys)
    return buffer[buffer > 0] & (2**FRAGMENT_BITS - 1)
