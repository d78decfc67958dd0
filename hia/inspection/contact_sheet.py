"""Contact sheet of a clip: annotated frames, enlarged hands, and both hands' blur over time."""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hia.conditions.blur import SharpnessScale
from hia.data.store.clip import Clip
from hia.data.store.records import ClipInfo
from hia.images import Frame
from hia.inspection.curves import Curves, draw_curves
from hia.inspection.overlay import (
    FACE_COLOUR,
    HAND_COLOURS,
    annotated_frame,
    draw_point,
    draw_rectangle,
    draw_ring,
    hand_picture,
    stripes,
)
from hia.inspection.summary import padding_share, speed_of_hands
from hia.visualization.text import BACKGROUND, INK, MUTED, PANEL, RULE, Style, draw_text, shortened, text_width

NUM_FRAMES = 8
# Wide frames are shown lower, so that four of them fit into a row.
TILE_HEIGHT, WIDEST_TILE = 360, 430
# Rows of tiles are as long as fits; the rest of a sheet needs the least width.
WIDEST_ROW, LEAST_WIDTH = 1800, 1200
MARGIN, GAP = 20, 8
CAPTION_HEIGHT, LARGEST_HAND = 20, 110
HEADER_HEIGHT, CURVES_HEIGHT = 92, 130
TITLE = Style(size=22, weight=700, colour=INK)
FACTS = Style(size=14, colour=MUTED)
CAPTION = Style(size=13, colour=MUTED)
HAND_NAMES = ("left", "right")
Symbol = Callable[[Frame], None]
SIDE, SPACE = 16, 24
TEXT = Style(size=13, colour=INK)


def contact_sheet(clip: Clip, scale: SharpnessScale | None = None) -> Frame:
    """The sheet of a clip, RGB uint8 [H, W, 3]: eight frames at even distances (all of a shorter clip).

    scale: of the store, its percentiles are marked in the chart of the sharpness.
    """
    shown = shown_frames(len(clip))
    rows = _rows([_tile(clip, index) for index in shown])
    width = max([row.shape[1] for row in rows] + [LEAST_WIDTH])
    charts = (
        Curves("sharpness s of the hands", clip.sharpness, shown, logarithmic=True, levels=_levels(scale)),
        Curves("speed |v| of the hands: 1 is a quarter of the frame in 1/30 s", speed_of_hands(clip), shown),
    )
    parts = [_header(clip.info, width), *rows, *(draw_curves(chart, width, CURVES_HEIGHT) for chart in charts)]
    return _stacked(parts, width)


def shown_frames(num_frames: int) -> list[int]:
    """Indices of the frames on the sheet: evenly over the clip, the first and the last among them."""
    return np.unique(np.linspace(0, num_frames - 1, NUM_FRAMES).round().astype(int)).tolist()


def _levels(scale: SharpnessScale | None) -> dict[str, float]:
    percentiles = {"p5": scale.p5, "p75": scale.p75, "p95": scale.p95} if scale else {}
    return {name: float(np.expm1(value)) for name, value in percentiles.items()}


def _header(info: ClipInfo, width: int) -> Frame:
    picture = np.full((HEADER_HEIGHT, width, 3), BACKGROUND, np.uint8)
    facts = (
        *(f"clip {info.id}", info.split, f"{info.seconds:.2f} s from {info.first_time:.2f} s"),
        *(f"{info.num_frames} frames at {info.fps:g} fps", f"{info.width}×{info.height} px"),
        *(f"enlarged {info.upscale:.2f}×", f"padding {padding_share(info):.0%}"),
        f"keypoints: {info.keypoint_source}, {info.filled:.1%} interpolated",
    )
    draw_text(picture, shortened(info.video, width, TITLE), 0, 24, TITLE)
    draw_text(picture, shortened("  ·  ".join(facts), width, FACTS), 0, 52, FACTS)
    draw_legend(picture, 0, 80)
    return picture


def _tile(clip: Clip, index: int) -> Frame:
    """A frame with its number above, its hands below."""
    frame = annotated_frame(clip, index, min(TILE_HEIGHT, round(WIDEST_TILE * clip.info.height / clip.info.width)))
    caption = np.full((CAPTION_HEIGHT, frame.shape[1], 3), BACKGROUND, np.uint8)
    text = f"frame {index}  ·  {index / clip.info.fps:.2f} s"
    draw_text(caption, shortened(text, frame.shape[1], CAPTION), 0, 14, CAPTION)
    return np.concatenate([caption, frame, _hands(clip, index, frame.shape[1])])


def _hands(clip: Clip, index: int, width: int) -> Frame:
    """Both hands side by side with their blur; the right one on the left, as in a person who faces the camera."""
    side = min((width - GAP // 2) // 2, LARGEST_HAND)
    strip = np.full((side + GAP, width, 3), BACKGROUND, np.uint8)
    for hand, left in ((1, 0), (0, side + GAP // 2)):
        strip[GAP:, left : left + side] = _hand(clip, index, hand, side)
    return strip


def _hand(clip: Clip, index: int, hand: int, side: int) -> Frame:
    style = Style(size=max(round(side * 0.125), 8), weight=600, colour=HAND_COLOURS[hand], outlined=True)
    picture = hand_picture(clip, index, hand, side)
    if picture is None:
        picture = np.full((side, side, 3), PANEL, np.uint8)
        text = f"no {HAND_NAMES[hand]} hand"
        muted = style._replace(size=max(round(side * 0.11), 8), weight=400, colour=MUTED, outlined=False)
        draw_text(picture, text, (side - text_width(text, muted)) // 2, side // 2 + 4, muted)
        return picture
    sharpness, speed = float(clip.sharpness[index, hand]), float(speed_of_hands(clip)[index, hand])
    draw_text(picture, f"s {_three_digits(sharpness)}", 5, side - 10 - style.size, style)
    draw_text(picture, "|v| ?" if np.isnan(speed) else f"|v| {speed:.2f}", 5, side - 6, style)
    draw_rectangle(picture, (1, 1, side - 2, side - 2), HAND_COLOURS[hand])
    return picture


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def _rows(tiles: list[Frame]) -> list[Frame]:
    """Tiles side by side, in as many rows as they need."""
    per_row = max(1, min(len(tiles), (WIDEST_ROW + GAP) // (tiles[0].shape[1] + GAP)))
    # Eight in rows of five would leave a ragged end.
    per_row = next(number for number in range(per_row, 0, -1) if len(tiles) % number == 0 or number < 3)
    gap = np.full((tiles[0].shape[0], GAP, 3), BACKGROUND, np.uint8)
    batches = [tiles[start : start + per_row] for start in range(0, len(tiles), per_row)]
    return [np.concatenate([part for tile in row for part in (tile, gap)][:-1], axis=1) for row in batches]


def _stacked(parts: list[Frame], width: int) -> Frame:
    """Parts under each other with space between and around."""
    height = sum(part.shape[0] for part in parts) + GAP * (len(parts) - 1)
    sheet = np.full((height + 2 * MARGIN, width + 2 * MARGIN, 3), BACKGROUND, np.uint8)
    tops: NDArray[np.int_] = np.array([0, *itertools.accumulate(part.shape[0] + GAP for part in parts)])
    for part, top in zip(parts, (tops + MARGIN).tolist(), strict=False):
        sheet[top : top + part.shape[0], MARGIN : MARGIN + part.shape[1]] = part
    return sheet


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
