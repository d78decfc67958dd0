"""Furniture at the wall of a room, drawn flat: pictures, a window, a door, a shelf, a plant, a lamp."""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.synthetic.camera import Camera
from hia.synthetic.kinematics import Array

Floats = NDArray[np.float32]


class WallCanvas:
    """Draws shapes in metres on the wall into a picture of `finer` times the camera's resolution."""

    def __init__(self, picture: Floats, camera: Camera, wall: float, finer: int) -> None:
        self.picture, self.camera, self.wall, self.finer = picture, camera, wall, finer

    def polygon(self, points: list[tuple[float, float]], colour: Array) -> None:
        """A filled polygon of points (x, y) in metres."""
        cv2.fillPoly(self.picture, [self._pixels(points)], colour.tolist())

    def box(self, left: float, low: float, right: float, high: float, colour: Array) -> None:
        """A filled rectangle, in metres."""
        self.polygon([(left, low), (right, low), (right, high), (left, high)], colour)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: Array) -> None:
        """A filled ellipse, in metres."""
        angles = np.linspace(0, 2 * np.pi, 28)
        self.polygon(list(zip(x + half_width * np.cos(angles), y + half_height * np.sin(angles), strict=True)), colour)

    def _pixels(self, points: list[tuple[float, float]]) -> NDArray[np.int32]:
        places = np.column_stack([np.array(points, np.float64), np.full(len(points), self.wall)])
        projected = self.camera.project(places)[:, :2]
        return np.round((projected + 0.5) * self.finer - 0.5).astype(np.int32)


def furnish(picture: Floats, generator: np.random.Generator, camera: Camera, wall: float, finer: int) -> None:
    """Draw one to three random pieces, side by side along the wall; picture: sRGB in [0, 1], changed in place."""
    canvas = WallCanvas(picture, camera, wall, finer)
    edges, _ = camera.on_wall(np.array([0.0, picture.shape[1] / finer]), np.zeros(2), wall)
    places = np.linspace(edges[0], edges[1], 5)
    middles = generator.permutation((places[1:] + places[:-1]) / 2)
    for middle in middles[: generator.integers(1, 4)]:
        draw = PIECES[generator.integers(len(PIECES))]
        draw(canvas, generator, float(middle + generator.normal(0, 0.06)))


def _vivid(generator: np.random.Generator, brightest: float = 0.9) -> Array:
    return np.array(
        colorsys.hsv_to_rgb(generator.random(), generator.uniform(0.1, 0.7), generator.uniform(0.2, brightest))
    )


def _picture(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    y, half_width, half_height = (
        generator.uniform(1.3, 1.9),
        generator.uniform(0.14, 0.28),
        generator.uniform(0.14, 0.3),
    )
    canvas.box(x - half_width, y - half_height, x + half_width, y + half_height, _vivid(generator, 0.5))
    half_width, half_height = half_width - 0.025, half_height - 0.025
    canvas.box(x - half_width, y - half_height, x + half_width, y + half_height, _vivid(generator))
    horizon = y + generator.uniform(-0.5, 0.3) * half_height
    canvas.box(x - half_width, y - half_height, x + half_width, horizon, _vivid(generator))
    canvas.ellipse(x + 0.4 * half_width, y + 0.5 * half_height, 0.05, 0.05, _vivid(generator))


def _window(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    low, high, half = 0.95, 2.1, generator.uniform(0.28, 0.42)
    frame, sky = np.full(3, 0.93), np.array([0.62, 0.78, 0.92]) * generator.uniform(0.8, 1.08)
    canvas.box(x - half, low, x + half, high, frame)
    canvas.box(x - half - 0.04, low - 0.05, x + half + 0.04, low, frame * 0.85)
    for left, right in ((x - half + 0.04, x - 0.02), (x + 0.02, x + half - 0.04)):
        canvas.box(left, low + 0.04, right, high - 0.04, np.clip(sky, 0, 1))
        canvas.polygon(
            [(left, low + 0.04), (right, low + 0.04), (right, low + 0.3), (left, low + 0.4)], sky * [0.6, 0.75, 0.5]
        )


def _door(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    colour = _vivid(generator, 0.8)
    canvas.box(x - 0.46, 0, x + 0.46, 2.08, np.clip(colour * 1.25, 0, 1))
    canvas.box(x - 0.41, 0, x + 0.41, 2.03, colour)
    for low, high in ((0.2, 0.9), (1.1, 1.85)):
        canvas.box(x - 0.3, low, x + 0.3, high, colour * 0.82)
        canvas.box(x - 0.27, low + 0.03, x + 0.27, high - 0.03, colour * 0.93)
    canvas.ellipse(x + 0.34, 1.0, 0.03, 0.03, np.array([0.8, 0.7, 0.4]))


def _shelf(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    wood = np.array([0.5, 0.34, 0.2]) * generator.uniform(0.6, 1.4)
    high = generator.uniform(0.9, 1.8)
    canvas.box(x - 0.36, 0, x + 0.36, high, wood * 0.6)
    for low in np.arange(0.05, high - 0.2, 0.36):
        left = x - 0.32
        while left < x + 0.26:
            thick = generator.uniform(0.025, 0.07)
            canvas.box(left, low, left + thick, low + generator.uniform(0.18, 0.30), _vivid(generator))
            left += thick + 0.004 + generator.choice([0.0, 0.05], p=[0.8, 0.2])
        canvas.box(x - 0.36, low - 0.03, x + 0.36, low, wood)


def _plant(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    pot, leaf = _vivid(generator, 0.8), np.array([0.2, 0.45, 0.18]) * generator.uniform(0.7, 1.3)
    for _ in range(14):
        angle, reach = generator.uniform(-1.2, 1.2), generator.uniform(0.35, 0.75)
        tip = (x + reach * np.sin(angle), 0.35 + reach * np.cos(angle))
        middle = (x + 0.55 * reach * np.sin(angle), 0.42 + 0.6 * reach * np.cos(angle))
        side = 0.045
        blade = [(x, 0.3), (middle[0] - side, middle[1] + 0.02), tip, (middle[0] + side, middle[1] - 0.02)]
        canvas.polygon(blade, np.clip(leaf * generator.uniform(0.7, 1.3), 0, 1))
    canvas.polygon([(x - 0.14, 0.36), (x + 0.14, 0.36), (x + 0.10, 0), (x - 0.10, 0)], pot)


def _lamp(canvas: WallCanvas, generator: np.random.Generator, x: float) -> None:
    shade = np.clip(np.array([1.0, 0.92, 0.7]) * generator.uniform(0.85, 1.0), 0, 1)
    canvas.box(x - 0.012, 0, x + 0.012, 1.5, np.full(3, 0.2))
    canvas.ellipse(x, 0.02, 0.14, 0.025, np.full(3, 0.2))
    canvas.polygon([(x - 0.19, 1.42), (x + 0.19, 1.42), (x + 0.11, 1.75), (x - 0.11, 1.75)], shade)


PIECES: tuple[Callable[[WallCanvas, np.random.Generator, float], None], ...] = (
    _picture, _picture, _window, _door, _shelf, _plant, _lamp,
)  # fmt: skip
