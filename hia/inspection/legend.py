"""The line of a contact sheet that says what its marks mean."""

from collections.abc import Callable

import numpy as np

from hia.images import Frame
from hia.inspection.lettering import INK, RULE, Style, draw_text, text_width
from hia.inspection.overlay import FACE_COLOUR, HAND_COLOURS, draw_point, draw_rectangle, draw_ring, stripes

Symbol = Callable[[Frame], None]

SIDE, SPACE = 16, 24
TEXT = Style(size=13, colour=INK)


def draw_legend(picture: Frame, left: int, baseline: int) -> None:
    """Draw the legend onto a picture, in place, starting at `left`."""
    for draw, text in ENTRIES:
        place = picture[baseline - SIDE + 3 : baseline + 3, left : left + SIDE]
        symbol = np.ascontiguousarray(place)
        draw(symbol)
        place[:] = symbol
        draw_text(picture, text, left + SIDE + 7, baseline, TEXT)
        left += SIDE + 7 + text_width(text, TEXT) + SPACE


def _box(colour: tuple[int, int, int], *, dashed: bool = False) -> Symbol:
    return lambda picture: draw_rectangle(picture, (1, 1, SIDE - 2, SIDE - 2), colour, dashed=dashed)


def _point(picture: Frame) -> None:
    draw_point(picture, SIDE / 2, SIDE / 2)


def _ring(picture: Frame) -> None:
    draw_ring(picture, SIDE / 2, SIDE / 2, 4)


def _padding(picture: Frame) -> None:
    picture[:] = stripes(SIDE, SIDE)
    picture[[0, -1]] = picture[:, [0, -1]] = RULE


ENTRIES: tuple[tuple[Symbol, str], ...] = (
    (_box(HAND_COLOURS[0]), "the person's left hand"),
    (_box(HAND_COLOURS[1]), "right hand"),
    (_box(FACE_COLOUR), "face"),
    (_box(FACE_COLOUR, dashed=True), "face, too small or turned away for identity"),
    (_point, "five face points"),
    (_ring, "interpolated keypoint"),
    (_padding, "padding"),
)
