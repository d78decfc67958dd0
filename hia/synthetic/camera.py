"""The camera: a level perspective view with a shifted picture, fitted to a dance."""

from dataclasses import dataclass

import numpy as np

from hia.synthetic.kinematics import Array

# Margin around the farthest points, as a share of the frame's smaller side.
MARGIN = 0.035


@dataclass(frozen=True)
class Camera:
    """A level perspective camera.

    scale: pixels per metre at z = 0; column, row: the point of the picture on the optical axis; eye_height: over the
    floor, and distance: from z = 0, both in metres.
    """

    scale: float
    column: float
    row: float
    eye_height: float
    distance: float

    def project(self, points: Array) -> Array:
        """World [..., 3] in metres to picture [..., 3]: column and row in pixels, and z in metres."""
        nearness = self.scale * self.distance / (self.distance - points[..., 2])
        column = self.column + nearness * points[..., 0]
        row = self.row - nearness * (points[..., 1] - self.eye_height)
        return np.stack([column, row, points[..., 2]], axis=-1)

    def on_floor(self, column: Array, row: Array) -> tuple[Array, Array]:
        """World x and z of the floor seen at pixels below the horizon."""
        z = self.distance - self.scale * self.distance * self.eye_height / np.maximum(row - self.row, 1e-3)
        return (column - self.column) * (self.distance - z) / (self.scale * self.distance), z

    def on_wall(self, column: Array, row: Array, wall: float) -> tuple[Array, Array]:
        """World x and y at z = `wall` seen at pixels."""
        size = (self.distance - wall) / (self.scale * self.distance)
        return (column - self.column) * size, self.eye_height - (row - self.row) * size


def fit_camera(points: Array, width: int, height: int, eye_height: float, distance: float, from_top: bool) -> Camera:
    """The camera that shows all `points` [N, 3] as large as they fit; they are centred, or hung from the top."""
    seen = Camera(1.0, 0.0, 0.0, eye_height, distance).project(points)[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = MARGIN * min(width, height)
    scale = float(min((width - 2 * margin) / (high[0] - low[0]), (height - 2 * margin) / (high[1] - low[1])))
    column = (width - 1) / 2 - scale * (low[0] + high[0]) / 2
    top = margin if from_top else (height - scale * (high[1] - low[1])) / 2
    return Camera(scale, float(column), float(top - scale * low[1]), eye_height, distance)
