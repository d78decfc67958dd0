"""The texture atlas of one dancer: skin, clothes, hair and shoes painted into one picture, and the face over it."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.synthetic.appearance import Appearance, Cloth, Colour
from hia.synthetic.mesh import Patch

ATLAS_SIDE = 512
# Positions of a finger's folds, as shares of its length with the part inside the palm.
CREASES = np.array([0.50, 0.56, 0.77, 0.81])
FACE = Patch(0, 0, 192, 192)
SKIN = Patch(192, 0, 96, 48)
FINGER = Patch(192, 48, 96, 48)
NAIL = Patch(192, 96, 96, 32)
SHOE = Patch(192, 128, 96, 64)
HAIR = Patch(288, 0, 224, 192)
TOP = Patch(0, 192, 288, 320)
# Sleeves are cut from the lower part of the top, where there is neither collar nor print.
SLEEVE = Patch(0, 372, 150, 140)
BOTTOM = Patch(288, 192, 224, 320)

Texture = NDArray[np.float32]


def paint_atlas(generator: np.random.Generator, look: Appearance) -> Texture:
    """The atlas without a face, sRGB float32 [512, 512, 3] in [0, 1]."""
    atlas = np.zeros((ATLAS_SIDE, ATLAS_SIDE, 3), np.float32)
    skin = np.array(look.skin, np.float32)
    _fill(atlas, SKIN, skin * _mottled(generator, SKIN, 0.03, 12))
    _fill(atlas, FINGER, skin * _mottled(generator, FINGER, 0.02, 8) * _creases())
    _fill(atlas, NAIL, 0.45 * skin + 0.55 * np.array([0.98, 0.78, 0.75], np.float32))
    _fill(atlas, SHOE, np.array(look.shoes) * _mottled(generator, SHOE, 0.06, 6))
    _fill(atlas, HAIR, np.array(look.hair) * _strands(generator))
    top = _fabric(generator, look.top, TOP)
    _cut_neckline(top, look)
    _fill(atlas, TOP, top)
    _fill(atlas, BOTTOM, _fabric(generator, look.bottom, BOTTOM))
    return atlas


def _fill(atlas: Texture, patch: Patch, colours: NDArray) -> None:
    atlas[patch.top : patch.top + patch.height, patch.left : patch.left + patch.width] = np.clip(colours, 0, 1)


def _mottled(generator: np.random.Generator, patch: Patch, strength: float, size: int) -> Texture:
    """Soft spots around 1, [h, w, 1]."""
    rows, columns = max(2, patch.height // size), max(2, patch.width // size)
    coarse = generator.normal(0, strength, (rows, columns)).astype(np.float32)
    fine = cv2.resize(coarse, (patch.width, patch.height), interpolation=cv2.INTER_CUBIC)
    return (1 + fine)[..., None].astype(np.float32)


def _strands(generator: np.random.Generator) -> Texture:
    """Light and dark streaks that run down the hair."""
    streaks = generator.normal(1, 0.16, (12, HAIR.width // 2)).astype(np.float32)
    fine = cv2.resize(streaks, (HAIR.width, HAIR.height), interpolation=cv2.INTER_CUBIC)
    return fine[..., None].astype(np.float32)


def _creases() -> Texture:
    """Folds of the skin over the joints of a finger, darker than the rest, [h, 1, 1]."""
    rows = (np.arange(FINGER.height) + 0.5) / FINGER.height
    nearest = np.abs(rows[:, None] - CREASES).min(axis=1) * FINGER.height
    return (1 - 0.16 * np.exp(-((nearest / 0.8) ** 2)))[:, None, None].astype(np.float32)


def _fabric(generator: np.random.Generator, cloth: Cloth, patch: Patch) -> Texture:
    """A patterned cloth with weave and soft folds, float32 [h, w, 3]."""
    around, down = np.meshgrid(
        (np.arange(patch.width) + 0.5) / patch.width, (np.arange(patch.height) + 0.5) / patch.height
    )
    second = PAINTERS[cloth.pattern](generator, around * cloth.repeats, down * cloth.repeats * 0.8)
    share = second.astype(np.float32)[..., None]
    colours = np.array(cloth.colour) * (1 - share) + np.array(cloth.second) * share
    weave = generator.normal(1, 0.02, (patch.height, patch.width, 1))
    folds = _mottled(generator, patch, 0.035, 40) * _mottled(generator, patch, 0.03, 12)
    return (colours * weave * folds).astype(np.float32)


def _plain(_generator: np.random.Generator, around: NDArray, _down: NDArray) -> NDArray:
    return np.zeros_like(around)


def _stripes(_generator: np.random.Generator, _around: NDArray, down: NDArray) -> NDArray:
    return (down * 1.3) % 1 < 0.42


def _bars(_generator: np.random.Generator, around: NDArray, _down: NDArray) -> NDArray:
    return (around * 1.6) % 1 < 0.32


def _checks(_generator: np.random.Generator, around: NDArray, down: NDArray) -> NDArray:
    return 0.5 * ((around * 1.5) % 1 < 0.5) + 0.5 * ((down * 1.2) % 1 < 0.5)


def _dots(_generator: np.random.Generator, around: NDArray, down: NDArray) -> NDArray:
    row = np.floor(down * 1.3)
    across, along = (around * 1.7 + 0.5 * (row % 2)) % 1 - 0.5, (down * 1.3) % 1 - 0.5
    return across**2 + along**2 < 0.075


def _print(generator: np.random.Generator, around: NDArray, _down: NDArray) -> NDArray:
    """A print on the chest: blots mirrored about the middle, a figure that does not repeat."""
    height, width = around.shape
    blots = generator.normal(0, 1, (7, 4)).astype(np.float32)
    figure = cv2.resize(np.hstack([blots, blots[:, ::-1]]), (width // 3, height // 3), interpolation=cv2.INTER_CUBIC)
    picture = np.zeros((height, width), np.float32)
    top, left = int(height * 0.2), (width - figure.shape[1]) // 2
    picture[top : top + figure.shape[0], left : left + figure.shape[1]] = figure > 0.15
    return picture


PAINTERS: dict[str, Callable[[np.random.Generator, NDArray, NDArray], NDArray]] = {
    "plain": _plain,
    "stripes": _stripes,
    "bars": _bars,
    "checks": _checks,
    "dots": _dots,
    "print": _print,
}


def _cut_neckline(top: Texture, look: Appearance) -> None:
    """Paint skin into the open collar in front, and a seam around it."""
    height, width = top.shape[:2]
    depth, half, middle = look.neckline * height, 0.075 * width, width / 2
    if not depth:
        return
    across = np.array([-half, half, 0.55 * half, 0, -0.55 * half])
    opening = np.stack([middle + across, np.array([-2, -2, 0.7 * depth, depth, 0.7 * depth])], axis=1)
    for thickness, colour in ((5, shade(look.top.colour, 0.6)), (0, look.skin)):
        # OpenCV smooths edges on 8 bits only.
        mask, outline = np.zeros((height, width), np.uint8), [np.round(opening * 16).astype(np.int32)]
        cv2.fillPoly(mask, outline, 255, cv2.LINE_AA, 4)
        if thickness:
            cv2.polylines(mask, outline, True, 255, thickness, cv2.LINE_AA, 4)
        share = mask[..., None].astype(np.float32) / 255
        top[:] = top * (1 - share) + np.array(colour, np.float32) * share


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or lighter colour."""
    red, green, blue = (min(1.0, channel * factor) for channel in colour)
    return red, green, blue
