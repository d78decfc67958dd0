"""Skinned surfaces: lofts (tubes of any cross-section) whose points follow the bones. Metres, rest pose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hia.synthetic.figure import BONE, BONES, Pose
from hia.synthetic.kinematics import Array, unit


@dataclass(frozen=True)
class Ring:
    """A cross-section: centre [3], half width, front and back half depth, and the bones' weights (they sum to 1).

    squareness: 1 is an ellipse, smaller is fuller towards a rectangle.
    """

    centre: tuple[float, float, float]
    width: float
    front: float
    back: float
    weights: Mapping[str, float]
    squareness: float = 1.0


@dataclass(frozen=True, eq=False)
class Mesh:
    """A skinned triangle mesh.

    points, normals [V, 3] at rest; weights [V, B] of the bones; texture [V, 2] in the atlas's texels; triangles [F, 3];
    parts [F]: the part of the body to which each triangle belongs.
    """

    points: Array
    normals: Array
    weights: Array
    texture: Array
    triangles: NDArray[np.int64]
    parts: NDArray[np.int64]

    def posed(self, pose: Pose) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points and normals [T, V, 3] at the pose's T moments (linear blend skinning)."""
        shifts = pose.positions - np.einsum("tbij,bj->tbi", pose.rotations, pose.rest)
        frames = np.concatenate([pose.rotations, shifts[..., None]], axis=-1)
        moments, bones = frames.shape[:2]
        blended = self.weights @ frames.transpose(1, 0, 2, 3).reshape(bones, -1)
        blended = blended.reshape(len(self.points), moments, 3, 4).astype(np.float32)
        points = np.einsum("vtij,vj->tvi", blended, np.c_[self.points, np.ones(len(self.points))].astype(np.float32))
        normals = np.einsum("vtij,vj->tvi", blended[..., :3], self.normals.astype(np.float32))
        return points, normals


@dataclass(frozen=True)
class Patch:
    """A rectangle of the atlas in texels, onto which a surface's texture coordinates in [0, 1]² are mapped."""

    left: int
    top: int
    width: int
    height: int

    def texels(self, around: Array, along: Array) -> Array:
        """Texel centres of coordinates in [0, 1].   → [..., 2]"""
        return np.stack(
            [self.left + 0.5 + around * (self.width - 2), self.top + 0.5 + along * (self.height - 2)], axis=-1
        )


@dataclass(eq=False)
class MeshBuilder:
    """Collects surfaces into one mesh."""

    points: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    texture: list[Array] = field(default_factory=list)
    triangles: list[NDArray[np.int64]] = field(default_factory=list)
    parts: list[NDArray[np.int64]] = field(default_factory=list)
    count: int = 0

    def loft(
        self,
        rings: Sequence[Ring],
        sides: int,
        patch: Patch,
        part: int,
        frame: Array | None = None,
        mirror: bool = False,
    ) -> None:
        """Add a tube through rings, from the top down.

        The rings lie in the local xz-plane of `frame` [3, 3] (default: the axes), whose +y points up the tube. The seam
        is at the back; the texture runs around from the right by the front to the left, and down.
        """
        angles = -np.pi / 2 - np.linspace(0, 2 * np.pi, sides + 1)
        grid = np.stack([_outline(ring, angles) for ring in rings])
        if frame is not None:
            grid = grid @ np.asarray(frame).T
        grid = grid + np.array([ring.centre for ring in rings])[:, None]
        lengths = np.linalg.norm(np.diff(np.array([ring.centre for ring in rings]), axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(lengths)]) / max(lengths.sum(), 1e-9)
        around, down = np.meshgrid(np.linspace(0, 1, sides + 1), along)
        weights = np.repeat(np.stack([weight_row(ring.weights) for ring in rings]), sides + 1, axis=0)
        self.grid(grid, patch.texels(around, down), weights, part, mirror)

    def grid(self, points: Array, texture: Array, weights: Array, part: int, mirror: bool = False) -> None:
        """Add a grid of points [K, N + 1, 3], closed in its second axis: the last column equals the first.

        Going down along the grid with the first column behind, its outside is on the right. texture [K, N + 1, 2];
        weights [K·(N + 1), B].
        """
        rows, columns = points.shape[:2]
        normals = _grid_normals(points)
        corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
        triangles = np.concatenate(
            [
                np.stack([corner, corner + columns, corner + 1], axis=1),
                np.stack([corner + 1, corner + columns, corner + columns + 1], axis=1),
            ]
        )
        if mirror:
            points, normals, triangles = points * (-1, 1, 1), normals * (-1, 1, 1), triangles[:, ::-1]
        self.points.append(points.reshape(-1, 3))
        self.normals.append(normals.reshape(-1, 3))
        self.texture.append(texture.reshape(-1, 2))
        self.weights.append(weights)
        self.triangles.append(triangles + self.count)
        self.parts.append(np.full(len(triangles), part))
        self.count += rows * columns

    def build(self) -> Mesh:
        """The mesh of all surfaces added so far."""
        return Mesh(
            points=np.concatenate(self.points),
            normals=np.concatenate(self.normals),
            weights=np.concatenate(self.weights),
            texture=np.concatenate(self.texture),
            triangles=np.concatenate(self.triangles),
            parts=np.concatenate(self.parts),
        )


def weight_row(weights: Mapping[str, float]) -> Array:
    """Weights by bone as a row [B]."""
    row = np.zeros(len(BONES))
    for bone, weight in weights.items():
        row[BONE[bone]] = weight
    return row


def blend(first: str, second: str, position: float, softness: float) -> dict[str, float]:
    """Weights that pass from one bone to the next. position: distance beyond the joint; softness: half the passage."""
    share = float(np.clip((position + softness) / (2 * softness), 0, 1))
    share = share * share * (3 - 2 * share)
    return {first: 1 - share, second: share}


def _outline(ring: Ring, angles: Array) -> Array:
    """Points of a cross-section around its centre, in the xz-plane.   → [N, 3]"""
    x, z = np.cos(angles), np.sin(angles)
    x, z = (np.sign(value) * np.abs(value) ** ring.squareness for value in (x, z))
    depth = np.where(z > 0, ring.front, ring.back)
    return np.stack([ring.width * x, np.zeros_like(x), depth * z], axis=-1)


def _grid_normals(points: Array) -> Array:
    """Outward normals of a grid that is closed in its second axis."""
    ring = points[:, :-1]
    around = np.roll(ring, -1, axis=1) - np.roll(ring, 1, axis=1)
    down = np.gradient(ring, axis=0)
    # The ends may close to a point: the ring next to them gives the direction.
    around[[0, -1]] = around[[1, -2]]
    normals = unit(np.cross(down, around))
    return np.concatenate([normals, normals[:, :1]], axis=1)
