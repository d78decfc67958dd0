"""The picture of a sweep: a heat map of two keys with lists of values, otherwise a panel for each key."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from orchestration.sweeps.search_space import Choice, Range, format_value, short_name
from orchestration.sweeps.trials import Record, Sweep

INK, MUTED, GRID, LINE, BEST, FAILED = "#1f2430", "#5c6370", "#e3e5ea", "#2f6fb0", "#c2410c", "#9aa0ab"
# The better, the darker.
COLOURS = {"max": "Blues", "min": "Blues_r"}
# On colours darker than this, letters are white.
DARK = 0.55
DPI = 144


def picture(sweep: Sweep, records: Sequence[Record], best: Record) -> bytes:
    """Draw the sweep; the content of a PNG file. records: of all trials that have begun; at least `best` is done."""
    domains = sweep.spec.domains
    if len(domains) == 2 and all(isinstance(domain, Choice) for domain in domains.values()):
        figure = _heat_map(sweep, records, best)
    else:
        figure = _panels(sweep, records, best)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=DPI, facecolor="white")
    return file.getvalue()


def _heat_map(sweep: Sweep, records: Sequence[Record], best: Record) -> Figure:
    """Heat map: first key upwards, second to the right; each cell with its value."""
    (row_key, rows), (column_key, columns) = [
        (key, _ordered(domain.values)) for key, domain in sweep.spec.domains.items() if isinstance(domain, Choice)
    ]
    cells = {(_text(one.values[row_key]), _text(one.values[column_key])): one for one in records}
    grid = [[cells.get((_text(row), _text(column))) for column in columns] for row in rows]
    values = np.array([[_value(sweep, cell) for cell in line] for line in grid])
    figure = Figure(figsize=(2.6 + 1.0 * len(columns), 1.9 + 0.75 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=COLOURS[sweep.spec.mode], aspect="auto", origin="lower")
    for row, line in enumerate(grid):
        for column, cell in enumerate(line):
            _write_cell(axes, sweep, cell, best, (column, row), image)
    axes.set_xticks(range(len(columns)), [_text(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_text(value) for value in rows])
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(_label(column_key), color=INK)
    axes.set_ylabel(_label(row_key), color=INK)
    bar = figure.colorbar(image, ax=axes, label=_metric(sweep))
    bar.outline.set_visible(False)
    _title(figure, sweep, best)
    return figure


def _write_cell(
    axes: Axes, sweep: Sweep, cell: Record | None, best: Record, place: tuple[int, int], image: AxesImage
) -> None:
    column, row = place
    value = _value(sweep, cell)
    if math.isnan(value):
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor=FAILED, hatch="///", linewidth=0))
        label, colour = str(cell.state) if cell else "not run", MUTED
    else:
        label, colour = f"{value:.4g}", _ink_on(image.to_rgba(np.array([value]))[0])
        if cell is not None and cell.state == "stopped":
            label += "\ngiven up"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if math.isnan(value) else None
    axes.text(column, row, label, ha="center", va="center", color=colour, bbox=box)
    if cell == best:
        corner = (column - 0.47, row - 0.47)
        axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=BEST, linewidth=2.5))


def _ink_on(colour: Any) -> str:
    """Colour of letters on a background, RGBA in [0, 1]: by the luminance of ITU-R BT.709."""
    return "white" if float(np.dot(colour[:3], (0.2126, 0.7152, 0.0722))) < DARK else INK


def _panels(sweep: Sweep, records: Sequence[Record], best: Record) -> Figure:
    """A panel for each key: the metric of every trial by its value; with a single key, they are joined by a line."""
    keys = list(sweep.spec.search)
    columns = min(3, len(keys))
    lines = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(1.2 + 4.2 * columns, 1.2 + 3.0 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for number, axes in enumerate(panels):
        if number >= len(keys):
            axes.set_visible(False)
            continue
        _panel(axes, sweep, records, best, keys[number])
        if number % columns == 0:
            axes.set_ylabel(_metric(sweep), color=INK)
    _title(figure, sweep, best)
    return figure


def _panel(axes: Axes, sweep: Sweep, records: Sequence[Record], best: Record, key: str) -> None:
    place = _places(axes, sweep, key)
    points = sorted((place(one.values[key]), _value(sweep, one), one.state) for one in records if one.state != "failed")
    done = [(x, y) for x, y, state in points if state == "done"]
    others = [(x, y) for x, y, state in points if state != "done" and not math.isnan(y)]
    axes.plot(*zip(*done, strict=True), "-o" if len(sweep.spec.search) == 1 else "o", color=LINE, linewidth=1.6)
    if others:
        axes.plot(*zip(*others, strict=True), "o", color=FAILED, fillstyle="none", label="given up")
    failed = [place(one.values[key]) for one in records if one.state == "failed"]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.02] * len(failed), "x", color=FAILED, transform=bottom, clip_on=False, label="failed")
    axes.plot([place(best.values[key])], [_value(sweep, best)], "o", color=BEST, markersize=9, label="best")
    axes.set_xlabel(_label(key), color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False, fontsize="small", labelcolor=INK)


def _places(axes: Axes, sweep: Sweep, key: str) -> Any:
    """Scale of a key's axis, as a function from values to positions: other values than numbers are evenly spaced."""
    domain = sweep.spec.domains[key]
    if isinstance(domain, Range):
        margin = 0.03 * (domain.high - domain.low)
        axes.set_xlim(domain.low - margin, domain.high + margin)
        if domain.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(domain.low / 1.1, domain.high * 1.1)
        return float
    values = _ordered(domain.values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        axes.set_xticks([float(value) for value in values], [_text(value) for value in values])
        return float
    names = [_text(value) for value in values]
    axes.set_xticks(range(len(names)), names)
    return lambda value: float(names.index(_text(value)))


def _ordered(values: Sequence[Any]) -> list[Any]:
    """Numbers in ascending order; lists with other values in their own order."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else list(values)


def _value(sweep: Sweep, record: Record | None) -> float:
    """The trial's metric; NaN for none, and for trials that failed or are running."""
    if record is None or record.state in ("failed", "running"):
        return math.nan
    return float(record.metrics.get(sweep.spec.metric, math.nan))


def _text(value: Any) -> str:
    text = format_value(value)
    return text if len(text) <= 24 else f"…{text[-23:]}"


def _label(key: str) -> str:
    return key if short_name(key) == key else f"{short_name(key)}  ({key})"


def _metric(sweep: Sweep) -> str:
    return f"{sweep.spec.metric} ({'higher' if sweep.spec.mode == 'max' else 'lower'} is better)"


def _title(figure: Figure, sweep: Sweep, best: Record) -> None:
    figure.suptitle(f"{sweep.name}\nbest: {best.trial.label}", color=INK, fontsize="medium")
