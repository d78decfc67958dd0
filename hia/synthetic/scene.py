"""The room: wall and floor with patterns in perspective, furniture, and the dancer's soft shadow."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.synthetic.appearance import Colour
from hia.synthetic.camera import Camera
from hia.synthetic.figure import BONE, SIDES, Pose
from hia.synthetic.furniture import furnish
from hia.synthetic.kinematics import Array

Floats = NDArray[np.float32]

# The background is painted at this multiple of the frames' resolution, then averaged.
FINER = 3
# The room is a little out of focus: width of the blur as a share of the frame's height.
DEFOCUS = 0.010
# Shadows are soft: they are computed at every fourth pixel only.
COARSER = 4
# Bones that throw shadows, and the widths of these (m).
SHADOWS = {"head": 0.12, "chest": 0.17, "spine": 0.16, "pelvis": 0.16} | {
    f"{side}_{bone}": width
    for side in SIDES
    for bone, width in {
        "upper_arm": 0.09,
        "forearm": 0.07,
        "hand": 0.08,
        "shin": 0.09,
        "foot": 0.08,
        "toes": 0.07,
    }.items()
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A painted room: background, linear float32 [H, W, 3]; z of its wall in m; direction of the light."""

    background: Floats
    wall: float
    light: Array

    @property
    def width(self) -> int:
        return self.background.shape[1]

    @property
    def height(self) -> int:
        return self.background.shape[0]

    def lit(self, camera: Camera, pose: Pose, moment: int) -> Floats:
        """The background with the shadow of the pose at one of its moments."""
        rows, columns = (-(-side // COARSER) for side in (self.height, self.width))
        column, row = np.meshgrid(*((np.arange(count) + 0.5) * COARSER - 0.5 for count in (columns, rows)))
        shadow = np.ones((rows, columns))
        floor_row = camera.row + camera.scale * camera.distance * camera.eye_height / (camera.distance - self.wall)
        x, z = camera.on_floor(column, row)
        across, up = camera.on_wall(column, row, self.wall)
        on_floor = row > floor_row
        for bone, size in SHADOWS.items():
            place = pose.positions[moment, BONE[bone]]
            fallen = place - self.light / self.light[1] * place[1]
            softness = size + 0.22 * place[1]
            dark = 0.5 * (size / softness) ** 1.2
            floor = dark * np.exp(-((x - fallen[0]) ** 2 + (z - fallen[2]) ** 2) / (2 * softness**2))
            thrown = place - self.light / self.light[2] * (place[2] - self.wall)
            softness = size + 0.06 * (place[2] - self.wall)
            wall = 0.13 * np.exp(-((across - thrown[0]) ** 2 + (up - thrown[1]) ** 2) / (2 * softness**2))
            shadow *= 1 - np.where(on_floor, floor, wall)
        full = cv2.resize(
            shadow.astype(np.float32), (columns * COARSER, rows * COARSER), interpolation=cv2.INTER_LINEAR
        )
        return self.background * full[: self.height, : self.width, None]


def paint_scene(generator: np.random.Generator, camera: Camera, width: int, height: int, light: Array) -> Scene:
    """Paint a random room as the camera sees it."""
    wall = -float(generator.uniform(0.7, 1.8))
    column, row = np.meshgrid(*((np.arange(side * FINER) + 0.5) / FINER - 0.5 for side in (width, height)))
    across, up = camera.on_wall(column, row, wall)
    x, z = camera.on_floor(column, row)
    picture = _wall(generator, across, up).astype(np.float32)
    furnish(picture, generator, camera, wall, FINER)
    below = up < 0
    skirting = (up >= 0) & (up < 0.09)
    picture[skirting] = np.array(_pale(generator), np.float32)
    picture[below] = _floor(generator, x, z)[below]
    # Corners get less light.
    middle = (np.hypot((column - width / 2) / width, (row - height * 0.4) / height) ** 2)[..., None]
    picture *= (1.05 - 0.45 * middle).astype(np.float32)
    small = cv2.resize(np.clip(picture, 0, 1) ** 2.2, (width, height), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small.astype(np.float32), (0, 0), DEFOCUS * height)
    return Scene(blurred.astype(np.float32), wall, light)


def _wall(generator: np.random.Generator, across: Array, up: Array) -> Array:
    names = list(WALLS)
    first, second = _pale(generator), _pale(generator)
    share = WALLS[names[generator.integers(len(names))]](generator, across, up)[..., None]
    colours = np.array(first) * (1 - share) + np.array(second) * share
    return colours * _grain(generator, across.shape, 0.02)


def _floor(generator: np.random.Generator, x: Array, z: Array) -> Array:
    names = list(FLOORS)
    base = np.array(_wood(generator))
    brightness = FLOORS[names[generator.integers(len(names))]](generator, x, z)[..., None]
    return np.clip(base * brightness * _grain(generator, x.shape, 0.03), 0, 1)


def _pale(generator: np.random.Generator) -> Colour:
    base = generator.uniform(0.35, 0.9)
    red, green, blue = np.clip(base + generator.normal(0, 0.07, 3), 0.1, 0.97).tolist()
    return red, green, blue


def _wood(generator: np.random.Generator) -> Colour:
    brightness = generator.uniform(0.3, 0.75)
    red, green, blue = (brightness * np.array([1.0, 0.82, 0.62]) ** generator.uniform(0.2, 1.4)).tolist()
    return red, green, blue


def _grain(generator: np.random.Generator, shape: tuple[int, ...], strength: float) -> Array:
    """Fine noise and broad clouds around 1."""
    fine = generator.normal(0, strength, shape)
    clouds = generator.normal(0, 2 * strength, (9, 6)).astype(np.float32)
    return (1 + fine + cv2.resize(clouds, shape[::-1], interpolation=cv2.INTER_CUBIC))[..., None]


def _random_cells(generator: np.random.Generator, rows: Array, columns: Array) -> Array:
    """A random number in [0, 1] for each cell of a grid, by whole row and column."""
    table = generator.random((64, 64))
    return table[rows.astype(int) % 64, columns.astype(int) % 64]


def _plain(_generator: np.random.Generator, _across: Array, up: Array) -> Array:
    return np.clip(up / 3, 0, 1)


def _striped(generator: np.random.Generator, across: Array, _up: Array) -> Array:
    return ((across / generator.uniform(0.1, 0.3)) % 1 < 0.5) * 0.7


def _bricks(generator: np.random.Generator, across: Array, up: Array) -> Array:
    row = np.floor(up / 0.09)
    shifted = across / 0.24 + 0.5 * (row % 2)
    mortar = ((up / 0.09) % 1 < 0.13) | (shifted % 1 < 0.05)
    return np.where(mortar, 1.0, 0.45 * _random_cells(generator, row, np.floor(shifted)))


def _panelled(_generator: np.random.Generator, across: Array, up: Array) -> Array:
    x, low = (across % 0.7) / 0.7, up < 1.0
    frame = (np.abs(x - 0.5) > 0.40) != (np.abs(x - 0.5) > 0.37)
    rail = (np.abs(up - 1.0) < 0.025) | (low & frame)
    return np.where(rail, 0.2, np.where(low, 1.0, 0.0))


def _dotted(_generator: np.random.Generator, across: Array, up: Array) -> Array:
    row = np.floor(up / 0.16)
    inside = np.hypot((across / 0.16 + 0.5 * (row % 2)) % 1 - 0.5, (up / 0.16) % 1 - 0.5) < 0.2
    return inside.astype(float)


def _planks(generator: np.random.Generator, x: Array, z: Array) -> Array:
    plank = np.floor(x / 0.14)
    along = z / 1.1 + _random_cells(generator, plank, plank * 0)
    tone = 0.85 + 0.3 * _random_cells(generator, plank, np.floor(along))
    return tone * np.where(((x / 0.14) % 1 < 0.04) | (along % 1 < 0.008), 0.6, 1)


def _tiles(_generator: np.random.Generator, x: Array, z: Array) -> Array:
    joint = ((x / 0.33) % 1 < 0.035) | ((z / 0.33) % 1 < 0.035)
    return np.where(joint, 0.65, 1 + 0.12 * ((np.floor(x / 0.33) + np.floor(z / 0.33)) % 2))


def _carpet(generator: np.random.Generator, x: Array, z: Array) -> Array:
    inside = np.hypot(x / 1.1, z / 0.75)
    return np.where(inside < 1, np.where((inside * 7) % 1 < 0.3, 0.75, 1.2), 0.95)


WALLS: dict[str, Callable[[np.random.Generator, Array, Array], Array]] = {
    "plain": _plain, "striped": _striped, "bricks": _bricks, "panelled": _panelled, "dotted": _dotted,
}  # fmt: skip
FLOORS: dict[str, Callable[[np.random.Generator, Array, Array], Array]] = {
    "planks": _planks, "tiles": _tiles, "carpet": _carpet,
}  # fmt: skip
