"""Text on pictures, in OpenCV's built-in fonts: Latin, Greek, Cyrillic, Chinese and more without any font file."""

import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import cv2

from hia.images import Frame

Colour = tuple[int, int, int]

BACKGROUND: Colour = (20, 22, 27)
PANEL: Colour = (33, 36, 44)
RULE: Colour = (62, 67, 79)
MUTED: Colour = (160, 166, 178)
INK: Colour = (236, 238, 242)
DARK: Colour = (8, 9, 12)

OUTLINE = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0))


class Style(NamedTuple):
    """Appearance of text: height of the line in px, weight (400 normal, 700 bold), RGB, and a dark edge or none."""

    size: int = 13
    weight: int = 400
    colour: Colour = INK
    outlined: bool = False


def draw_text(picture: Frame, text: str, left: int, baseline: int, style: Style) -> None:
    """Write one line onto a picture, RGB uint8 [H, W, 3], in place; what falls outside is cut off."""
    text = printable(text)
    if style.outlined:
        for x, y in OUTLINE:
            _put(picture, text, left + x, baseline + y, style._replace(colour=DARK))
    _put(picture, text, left, baseline, style)


def text_width(text: str, style: Style) -> int:
    """Width of a line in px."""
    box = cv2.getTextSize((0, 0), printable(text), (0, 0), _font(), style.size, style.weight)
    return int(box[2])


def shortened(text: str, width: int, style: Style) -> str:
    """The text, or as much of its start and end as fits into `width` px with "…" between."""
    text = printable(text)
    if text_width(text, style) <= width:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(_elided(text, middle), style) <= width else (low, middle - 1)
    return _elided(text, low)


def printable(text: str) -> str:
    """The text in one line, with plain spaces; line breaks and control characters of file names become "�"."""
    letters = (" " if unicodedata.category(letter) == "Zs" else letter for letter in text)
    return "".join(letter if letter.isprintable() else "�" for letter in letters)


def four_digits(value: float) -> str:
    """A figure with four significant digits and a true minus sign."""
    return f"{value:.4g}".replace("-", "−")


def _elided(text: str, kept: int) -> str:
    start = (kept + 1) // 2
    return f"{text[:start]}…{text[len(text) - (kept - start) :]}"


def _put(picture: Frame, text: str, left: int, baseline: int, style: Style) -> None:
    cv2.putText(picture, text, (left, baseline), style.colour, _font(), style.size, style.weight)


@lru_cache(maxsize=1)
def _font() -> Any:
    return cv2.FontFace("sans")
