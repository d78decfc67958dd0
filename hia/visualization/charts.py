"""Charts for pages: drawn by matplotlib, as inline SVG that takes its colours from the page's style sheet.

matplotlib's own SVG colours everything by style attributes, which the page's Content-Security-Policy forbids and which
would not follow its dark mode. So only its shapes and texts are kept, each with the class of its artist (`gid`).
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hia.visualization.text import printable

# Size and margins in px of the page; matplotlib's points, of which 72 make an inch.
WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 22, 40
NUM_BINS, BAR_SHARE = 30, 0.92
DOT_RADIUS = 3.5
STEPS = (1, 2, 5, 10)
SVG = "http://www.w3.org/2000/svg"


class Chart(NamedTuple):
    """A chart with its title, and a note beside the title."""

    title: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class Histogram:
    """Values of a histogram and the look of its axis.

    values: float [n]. low, high: ends of the axis; values beyond are counted in the outermost bars. ticks: labels at
    places of the axis; chosen when there are none. marks: vertical lines by their labels. unit: below the axis. things:
    noun for what is counted.
    """

    title: str
    values: NDArray[np.floating]
    low: float
    high: float
    unit: str
    things: str
    ticks: Mapping[float, str] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)


def histogram_chart(histogram: Histogram) -> Chart:
    """The histogram, with the count of each bar as its tooltip."""
    values = np.clip(histogram.values.astype(np.float64), histogram.low, histogram.high)
    counts, edges = np.histogram(values, bins=NUM_BINS, range=(histogram.low, histogram.high))
    note = f"{len(values):,} {histogram.things}"
    with _style():
        axes = _axes(histogram.unit)
        _set_ticks(axes, histogram)
        if len(values):
            _draw_bars(axes, counts, edges)
            _draw_marks(axes, histogram)
        else:
            axes.yaxis.set_major_locator(NullLocator())
            axes.text(0.5, 0.5, "nothing to count", transform=axes.transAxes, ha="center")
        tooltips = [f"{count:,} {histogram.things}" for count in counts]
        return Chart(histogram.title, note, _svg(axes, f"{histogram.title}: {note}", {"column": tooltips}))


def dots_chart(title: str, unit: str, names: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> Chart:
    """A column for each video, named by `names`, and in it a dot for each series that has a value."""
    # Dots of one video beside each other, where there is room: equal values would hide one another.
    column = (WIDTH - LEFT - RIGHT) / len(names)
    apart = min(2 * DOT_RADIUS / column, 1 / (len(series) + 1))
    tooltips = {}
    with _style():
        axes = _axes(unit)
        axes.spines["bottom"].set_visible(False)
        axes.xaxis.set_major_locator(NullLocator())
        axes.xaxis.labelpad = 14
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):.4g}"))
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(*_ends(series))
        for number, (label, values) in enumerate(series.items()):
            known = [(index, value) for index, value in enumerate(values) if value is not None]
            places = [index + (number - (len(series) - 1) / 2) * apart for index, _ in known]
            axes.plot(places, [value for _, value in known], "o", gid=f"series-{number}")
            tooltips[f"series-{number}"] = [f"{names[index]} · {label}: {value:.4g}" for index, value in known]
        return Chart(title, f"{len(names):,} videos", _svg(axes, title, tooltips))


def _style() -> AbstractContextManager[None]:
    """matplotlib's settings: text stays text, nothing in it is read as a formula, equal charts give equal bytes."""
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "hia", "text.parse_math": False, "font.size": 9})


def _axes(unit: str) -> Axes:
    """Empty axes of a figure of their own, with an axis below and grid lines for the values at the left."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    place = LEFT / WIDTH, BOTTOM / HEIGHT, (WIDTH - LEFT - RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / HEIGHT
    axes = figure.add_axes(place)
    for hidden in (figure.patch, axes.patch, *(axes.spines[side] for side in ("left", "right", "top"))):
        hidden.set_visible(False)
    axes.spines["bottom"].set_gid("axis")
    axes.tick_params(length=0, pad=6)
    axes.grid(axis="y", gid="grid")
    axes.set_axisbelow(True)
    axes.set_xlabel(printable(unit), labelpad=9)
    return axes


def _set_ticks(axes: Axes, histogram: Histogram) -> None:
    axes.set_xlim(histogram.low, histogram.high)
    if histogram.ticks:
        inside = {place: label for place, label in histogram.ticks.items() if histogram.low <= place <= histogram.high}
        axes.xaxis.set_major_locator(FixedLocator(list(inside)))
        axes.set_xticklabels(list(inside.values()))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):g}"))


def _draw_bars(axes: Axes, counts: NDArray[np.intp], edges: NDArray[np.float64]) -> None:
    axes.bar((edges[:-1] + edges[1:]) / 2, counts, BAR_SHARE * np.diff(edges), gid="column")
    axes.set_ylim(0, float(counts.max()))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))


def _draw_marks(axes: Axes, histogram: Histogram) -> None:
    for label, value in histogram.marks.items():
        place = min(max(value, histogram.low), histogram.high)
        axes.axvline(place, ymax=1.04, gid="mark", clip_on=False)
        axes.text(place, 1.07, printable(label), transform=axes.get_xaxis_transform(), ha="center")


def _ends(series: Mapping[str, Sequence[float | None]]) -> tuple[float, float]:
    known = [value for values in series.values() for value in values if value is not None]
    low, high = min(known), max(known)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _svg(axes: Axes, label: str, tooltips: Mapping[str, Sequence[str]]) -> Markup:
    """The axes' figure as an element of a page. tooltips: by class, for its shapes in the order of drawing."""
    content = io.BytesIO()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": printable(label)}
    )
    waiting = {css: iter(texts) for css, texts in tooltips.items()}
    for shape in _shapes(ElementTree.fromstring(content.getvalue()), ""):
        if text := next(waiting.get(shape.get("class", ""), iter(())), None):
            ElementTree.SubElement(shape, "title").text = printable(text)
        root.append(shape)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _shapes(element: ElementTree.Element, css: str) -> Iterator[ElementTree.Element]:
    """Paths, dots and texts of matplotlib's SVG in order, without ids and styles, with the class of their artist."""
    identity = element.get("id", "")
    css = identity if re.fullmatch(r"column|grid|mark|axis|series-\d+", identity) else css
    kind = element.tag.removeprefix(f"{{{SVG}}}")
    if kind == "path":
        yield ElementTree.Element("path", {"class": css, "d": _rounded(" ".join(element.get("d", "").split()))})
    elif kind == "use":
        place = {"cx": _rounded(element.get("x", "")), "cy": _rounded(element.get("y", ""))}
        yield ElementTree.Element("circle", {"class": css, **place, "r": f"{DOT_RADIUS}"})
    elif kind == "text":
        yield _text(element)
    elif kind != "defs":
        for child in element:
            yield from _shapes(child, css)


def _text(element: ElementTree.Element) -> ElementTree.Element:
    anchor = re.search(r"text-anchor: (\w+)", element.get("style", ""))
    place = {key: _rounded(element.get(key, "")) for key in ("x", "y")}
    text = ElementTree.Element("text", {**place, "text-anchor": anchor[1] if anchor else "start"})
    text.text = element.text
    return text


def _rounded(numbers: str) -> str:
    """The text with its decimal numbers to a tenth of a px."""
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}", numbers)
