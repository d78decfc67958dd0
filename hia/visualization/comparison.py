"""Animations beside their inputs: rows of labelled pictures for videos, and sheets of such rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hia.conditions.driving import DrivingSignal
from hia.images import Frame
from hia.visualization.skeleton import skeleton_picture
from hia.visualization.text import BACKGROUND, INK, MUTED, Style, draw_text, shortened

# Smaller pictures are enlarged by whole numbers up to about this height: browsers show videos as large as they are.
VIDEO_HEIGHT = 336
# Pictures on a sheet: this high, unless they would be wider than that.
SHEET_HEIGHT, WIDEST_ON_SHEET = 224, 180
MOMENTS = 3
GAP, LABEL_HEIGHT, TITLE_HEIGHT, MARGIN = 4, 20, 30, 16

LABEL = Style(size=13, colour=MUTED)
TITLE = Style(size=15, weight=600, colour=INK)


@dataclass(frozen=True)
class Comparison:
    """An animation beside its inputs and the truth, frame by frame; all pictures RGB uint8 [H, W, 3] of one size.

    reference: the picture that was animated. truth: None where it is not known.
    """

    reference: Frame
    driving: DrivingSignal
    generated: Frame
    truth: Frame | None = None

    def panels(self, index: int) -> dict[str, Frame]:
        """Pictures of a frame by their label."""
        panels = {
            "skeleton": skeleton_picture(self.driving.control_image(index)),
            "result": self.generated[index],
        }
        return panels if self.truth is None else panels | {"truth": self.truth[index]}

    def video(self) -> Iterator[Frame]:
        """Rows of reference, skeleton, result and truth, one per frame, each with even sides as videos need them."""
        for index in range(len(self.generated)):
            yield even(panel_row({"reference": self.reference} | self.panels(index)))


def panel_row(panels: Mapping[str, Frame]) -> Frame:
    """Pictures of one size beside each other with their labels above, enlarged when they are small."""
    height = next(iter(panels.values())).shape[0]
    scale = max(1, round(VIDEO_HEIGHT / height))
    return _row([_labelled(label, _enlarged(picture, scale)) for label, picture in panels.items()], GAP)


def sheet_row(title: str, comparison: Comparison) -> Frame:
    """The reference, and some later moments with skeleton, result and truth each, under a title."""
    return titled(title, moments_row(comparison))


def moments_row(comparison: Comparison) -> Frame:
    """The reference, and some later moments with skeleton, result and truth each."""
    tiles = [_labelled("reference", _fitted(comparison.reference))]
    for index in shown_moments(len(comparison.generated)):
        labels = {"skeleton": f"frame {index}: skeleton"}
        panels = comparison.panels(index).items()
        tiles.append(_row([_labelled(labels.get(name, name), _fitted(picture)) for name, picture in panels], GAP))
    return _row(tiles, MARGIN)


def titled(title: str, row: Frame) -> Frame:
    """A picture under a title, which is shortened to its width."""
    heading = np.full((TITLE_HEIGHT, row.shape[1], 3), BACKGROUND, np.uint8)
    draw_text(heading, shortened(title, row.shape[1], TITLE), 0, TITLE_HEIGHT - 10, TITLE)
    return np.concatenate([heading, row])


def sheet(title: str, rows: Sequence[Frame]) -> Frame:
    """Rows under each other, under a title, with space around."""
    width = max(row.shape[1] for row in rows)
    heading = np.full((TITLE_HEIGHT, width, 3), BACKGROUND, np.uint8)
    draw_text(heading, shortened(title, width, TITLE), 0, TITLE_HEIGHT - 10, TITLE)
    parts = [_padded(part, MARGIN, 0, 0, width - part.shape[1]) for part in (heading, *rows)]
    return _padded(np.concatenate(parts), 0, MARGIN, MARGIN, MARGIN)


def shown_moments(num_frames: int) -> list[int]:
    """Indices of the frames on a sheet: evenly up to the last; frame 0, the reference's own pose, only if alone."""
    if num_frames == 1:
        return [0]
    return sorted({math.ceil(number * (num_frames - 1) / MOMENTS) for number in range(1, MOMENTS + 1)})


def _labelled(label: str, picture: Frame) -> Frame:
    band = np.full((LABEL_HEIGHT, picture.shape[1], 3), BACKGROUND, np.uint8)
    draw_text(band, shortened(label, picture.shape[1], LABEL), 0, LABEL_HEIGHT - 6, LABEL)
    return np.concatenate([band, picture])


def _enlarged(picture: Frame, scale: int) -> Frame:
    if scale == 1:
        return picture
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _fitted(picture: Frame) -> Frame:
    height, width = picture.shape[:2]
    scale = min(SHEET_HEIGHT / height, WIDEST_ON_SHEET / width)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


def _row(pictures: Sequence[Frame], gap: int) -> Frame:
    space = np.full((pictures[0].shape[0], gap, 3), BACKGROUND, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, space)][:-1], axis=1)


def even(picture: Frame) -> Frame:
    """The picture with even sides, as videos need them."""
    return _padded(picture, 0, 0, picture.shape[0] % 2, picture.shape[1] % 2)


def _padded(picture: Frame, top: int, left: int, bottom: int, right: int) -> Frame:
    padding = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=BACKGROUND)
    return np.asarray(padding, np.uint8)
