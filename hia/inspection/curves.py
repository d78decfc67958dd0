"""A small chart over time in a contact sheet: a line for each hand, with gaps where there is no hand.

Drawn by OpenCV, like the rest of the sheet and in its font: matplotlib's rasteriser takes 14 times as long (88 ms).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hia.images import Frame
from hia.inspection.overlay import HAND_COLOURS, SHIFT
from hia.visualization.text import INK, MUTED, PANEL, RULE, Style, draw_text, text_width

LABEL = Style(size=12, colour=MUTED)
TITLE = Style(size=13, weight=600, colour=INK)
LEFT_MARGIN, RIGHT_MARGIN, TOP_MARGIN, BOTTOM_MARGIN = 58, 44, 26, 8
# Ticks closer than this, in px, are left out.
LEAST_TICK_DISTANCE = 15


@dataclass(frozen=True)
class Curves:
    """Content of one chart.

    values: float [N, 2 hands], NaN is a gap. marked: indices of the frames with a vertical line. levels: values with a
    dashed horizontal line, by their label. logarithmic: of 1 + value, so that 0 has its place.
    """

    title: str
    values: NDArray[np.float32]
    marked: Sequence[int]
    logarithmic: bool = False
    levels: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Axes:
    """A mapping from frame and value to pixels."""

    left: int
    top: int
    width: int
    height: int
    num_frames: int
    low: float
    high: float
    logarithmic: bool

    def x(self, frame: float) -> float:
        """Column of a frame."""
        return self.left + (frame / max(self.num_frames - 1, 1)) * self.width

    def y(self, value: float) -> float:
        """Row of a value."""
        place = math.log1p(value) if self.logarithmic else value
        return self.top + self.height * (self.high - place) / (self.high - self.low)


def draw_curves(curves: Curves, width: int, height: int) -> Frame:
    """The chart, RGB uint8 [height, width, 3]."""
    picture = np.full((height, width, 3), PANEL, np.uint8)
    axes = _axes(curves, width, height)
    draw_text(picture, curves.title, LEFT_MARGIN, 17, TITLE)
    _draw_ticks(picture, axes)
    for index in curves.marked:
        column = round(axes.x(index))
        cv2.line(picture, (column, axes.top), (column, axes.top + axes.height), RULE, 1)
    for label, value in curves.levels.items():
        _draw_level(picture, axes, label, value)
    for hand, colour in enumerate(HAND_COLOURS):
        for run in _runs(curves.values[:, hand]):
            places = [(axes.x(frame), axes.y(float(curves.values[frame, hand]))) for frame in run]
            _draw_line(picture, places, colour)
        for index in curves.marked:
            if not np.isnan(curves.values[index, hand]):
                place = _fixed(axes.x(index), axes.y(float(curves.values[index, hand])))
                cv2.circle(picture, place, 3 << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
    if np.isnan(curves.values).all():
        draw_text(picture, "no hand was found in any frame", LEFT_MARGIN + 12, axes.top + axes.height // 2 + 5, LABEL)
    return picture


def _axes(curves: Curves, width: int, height: int) -> Axes:
    low, high = _range(curves)
    return Axes(
        left=LEFT_MARGIN,
        top=TOP_MARGIN,
        width=width - LEFT_MARGIN - RIGHT_MARGIN,
        height=height - TOP_MARGIN - BOTTOM_MARGIN,
        num_frames=len(curves.values),
        low=low,
        high=high,
        logarithmic=curves.logarithmic,
    )


def _range(curves: Curves) -> tuple[float, float]:
    """Lowest and highest place on the axis: a decade at least of a logarithmic one; others start at 0."""
    values = np.append(curves.values[~np.isnan(curves.values)], list(curves.levels.values())).astype(np.float64)
    if not curves.logarithmic:
        return 0.0, max(float(values.max(initial=0)) * 1.08, 0.1)
    places = np.log1p(values) if len(values) else np.array([0.0, math.log(10)])
    middle, half = (places.min() + places.max()) / 2, max((places.max() - places.min()) * 0.54, math.log(10) / 2)
    return float(max(middle - half, -0.1)), float(middle + half)


def _draw_ticks(picture: Frame, axes: Axes) -> None:
    bottom = axes.top + axes.height
    cv2.rectangle(picture, (axes.left, axes.top), (axes.left + axes.width, bottom), RULE, 1)
    previous = math.inf
    for value in _ticks(axes):
        row = round(axes.y(value))
        if not axes.top <= row <= bottom or previous - row < LEAST_TICK_DISTANCE:
            continue
        previous, label = row, f"{value:g}"
        cv2.line(picture, (axes.left - 4, row), (axes.left, row), MUTED, 1)
        draw_text(picture, label, axes.left - 8 - text_width(label, LABEL), row + 4, LABEL)


def _ticks(axes: Axes) -> list[float]:
    if axes.logarithmic:
        return [0.0, *(float(f"{digit}e{power}") for power in range(7) for digit in (1, 3))]
    return [round(float(value), 6) for value in MaxNLocator(4, steps=(1, 2, 5, 10)).tick_values(0, axes.high)]


def _draw_level(picture: Frame, axes: Axes, label: str, value: float) -> None:
    row = round(axes.y(value))
    for start in range(axes.left, axes.left + axes.width, 10):
        cv2.line(picture, (start, row), (start + 4, row), MUTED, 1)
    draw_text(picture, label, axes.left + axes.width + 6, row + 4, LABEL)


def _runs(values: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """Runs of consecutive known values, each as their indices."""
    frames = np.flatnonzero(~np.isnan(values))
    return [part for part in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1) if len(part)]


def _draw_line(picture: Frame, places: Sequence[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    corners = np.array([_fixed(*place) for place in places], np.int32)
    if len(corners) == 1:
        cv2.circle(picture, corners[0].tolist(), 2 << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
    cv2.polylines(picture, [corners], False, colour, 2, cv2.LINE_AA, SHIFT)


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round(x * 2**SHIFT), round(y * 2**SHIFT)
