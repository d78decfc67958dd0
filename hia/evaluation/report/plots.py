"""Every video's figure by every method, as inline SVG, coloured by the page's style sheet."""

from collections.abc import Mapping, Sequence

from hia.inspection.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from hia.inspection.curves import nice_step
from hia.inspection.html import escape

RADIUS = 3.5
Values = Sequence[float | None]


def dots(title: str, unit: str, names: Sequence[str], series: Mapping[str, Values]) -> str:
    """A figure with a column for each video, named by `names`, and in it a dot for each series that has a value."""
    known = [value for values in series.values() for value in values if value is not None]
    low, high = min(known), max(known)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ends = low - margin, high + margin
    parts = [*_grid(*ends), *_dots(names, series, ends)]
    return (
        f'<figure class="chart"><figcaption>{escape(title)} <small>{len(names):,} videos</small></figcaption>\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">\n'
        + "\n".join(parts)
        + f'\n<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(unit)}</text>'
        + "\n</svg></figure>"
    )


def legend(labels: Sequence[str]) -> str:
    """What the colours mean, in the order of the series."""
    items = "".join(
        f'<li><svg viewBox="0 0 8 8" aria-hidden="true"><circle class="series-{number}" cx="4" cy="4" r="4"/></svg>'
        f"{escape(label)}</li>"
        for number, label in enumerate(labels)
    )
    return f'<ul class="legend">{items}</ul>'


def _dots(names: Sequence[str], series: Mapping[str, Values], ends: tuple[float, float]) -> list[str]:
    step = (WIDTH - LEFT - RIGHT) / len(names)
    # Dots of one video beside each other, where there is room: equal values would hide one another.
    apart = min(2 * RADIUS, step / (len(series) + 1))
    parts = []
    for number, (label, values) in enumerate(series.items()):
        for index, value in enumerate(values):
            if value is None:
                continue
            column = LEFT + (index + 0.5) * step + (number - (len(series) - 1) / 2) * apart
            told = escape(f"{names[index]} · {label}: {value:.4g}")
            place = f'cx="{column:.1f}" cy="{_row(value, *ends):.1f}" r="{RADIUS}"'
            parts.append(f'<circle class="series-{number}" {place}><title>{told}</title></circle>')
    return parts


def _grid(low: float, high: float) -> list[str]:
    step = nice_step(high - low, 4)
    parts = []
    place = step * -(-low // step)
    while place <= high:
        row = _row(place, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{row:.1f}" y2="{row:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{row + 3.5:.1f}" text-anchor="end">{round(place, 9):.4g}</text>')
        place += step
    return parts


def _row(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low)
