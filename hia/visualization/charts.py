"""Charts as inline SVG, coloured by the page's style sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hia.inspection.curves import nice_step
from hia.visualization.html import escape

WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 22, 40
NUM_BINS = 30


@dataclass(frozen=True)
class Histogram:
    """Values and how they are shown.

    values: float [n]. low, high: ends of the axis; values beyond are counted in the outermost bars. ticks: labels at
    places of the axis; chosen when there are none. marks: vertical lines by their labels. unit: below the axis. things:
    what is counted.
    """

    title: str
    values: NDArray[np.floating]
    low: float
    high: float
    unit: str
    things: str
    ticks: Mapping[float, str] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)

    def column(self, place: float) -> float:
        """Where on the picture a place of the axis is."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (place - self.low) / (self.high - self.low)


def histogram_svg(histogram: Histogram) -> str:
    """The histogram as a figure of the page."""
    values = histogram.values
    summary = f"{histogram.title}: {len(values):,} {histogram.things}"
    parts = _empty() if len(values) == 0 else _bars(histogram) + _marks(histogram)
    return (
        f'<figure class="chart"><figcaption>{escape(histogram.title)} '
        f"<small>{len(values):,} {escape(histogram.things)}</small></figcaption>\n"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(summary)}">\n'
        + "\n".join([*parts, *_axis(histogram)])
        + "\n</svg></figure>"
    )


def share_bar(share: float) -> str:
    """A bar as long as a share of its place."""
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="10"/><rect width="{100 * share:.2f}" height="10"/></svg>'
    )


def _empty() -> list[str]:
    return [_text(WIDTH / 2, HEIGHT / 2 - 10, "nothing to count", "middle")]


def _bars(histogram: Histogram) -> list[str]:
    counts, edges = np.histogram(
        np.clip(histogram.values.astype(np.float64), histogram.low, histogram.high),
        bins=NUM_BINS,
        range=(histogram.low, histogram.high),
    )
    step = max(nice_step(float(counts.max()), 3), 1)
    grid = [step * number for number in range(int(counts.max() / step) + 1)]
    return [
        *(part for count in grid for part in _grid_line(count, counts.max())),
        *(_bar(histogram, *bar, counts.max()) for bar in zip(counts, edges[:-1], edges[1:], strict=True)),
    ]


def _grid_line(count: float, highest: float) -> list[str]:
    row = _row(count, highest)
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{row:.1f}" y2="{row:.1f}"/>'
    return [line, _text(LEFT - 6, row + 3.5, f"{count:,.0f}", "end")]


def _bar(histogram: Histogram, count: int, low: float, high: float, highest: float) -> str:
    left, right, top = histogram.column(low), histogram.column(high), _row(count, highest)
    return (
        f'<rect class="column" x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" '
        f'height="{HEIGHT - BOTTOM - top:.1f}"><title>{count:,} {escape(histogram.things)}</title></rect>'
    )


def _row(count: float, highest: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * count / highest


def _marks(histogram: Histogram) -> list[str]:
    parts = []
    for label, place in histogram.marks.items():
        column = histogram.column(min(max(place, histogram.low), histogram.high))
        parts.append(f'<line class="mark" x1="{column:.1f}" x2="{column:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(_text(column, TOP - 9, label, "middle"))
    return parts


def _axis(histogram: Histogram) -> list[str]:
    bottom = HEIGHT - BOTTOM
    line = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    ticks = histogram.ticks or {place: f"{place:g}" for place in _ticks(histogram.low, histogram.high)}
    labels = [
        _text(histogram.column(place), bottom + 15, label, "middle")
        for place, label in ticks.items()
        if histogram.low <= place <= histogram.high
    ]
    return [line, *labels, _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, histogram.unit, "middle")]


def _ticks(low: float, high: float) -> Sequence[float]:
    step = nice_step(high - low, 6)
    first = int(np.ceil(low / step - 1e-9))
    return [round(number * step, 9) for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
