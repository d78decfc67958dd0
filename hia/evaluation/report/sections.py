"""The sections of the page with figures. All return HTML."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hia.config.metrics import figure_info, in_order
from hia.evaluation.aggregate import Aggregate
from hia.evaluation.protocol.results import EXPLAINED, LABELS, Results, figure_names
from hia.evaluation.report.cases import labels, link, ranked
from hia.inspection.curves import nice_step
from hia.visualization.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from hia.visualization.html import Cell, Row, escape, name, section, table
from hia.visualization.text import four_digits

# Those of which every video's is plotted, if they were measured.
PLOTTED = ("psnr", "ssim", "lpips_alex", "hands_psnr", "face_psnr", "dtssd")
# Columns of the table of videos.
LISTED = ("psnr", "ssim", "l1", "lpips_alex", "hands_psnr", "face_psnr", "csim", "dtssd")
RADIUS = 3.5
Values = Sequence[float | None]


def figures(results: Results) -> str:
    """The table of all figures, with their intervals."""
    names = in_order({name for summary in results.summaries.values() for name in summary.figures})
    rows = [_figure_row(results, figure) for figure in names]
    head = ["Figure", "", *(escape(label) for label in labels(results.methods))]
    confidence = f"{results.resampling.confidence:.0%}"
    about = "".join(
        f"<p><strong>{escape(LABELS[method])}</strong>: {escape(EXPLAINED[method])}.</p>" for method in results.methods
    )
    note = (
        f"<p>In brackets: {confidence} intervals from drawing the videos anew {results.resampling.draws:,} times; they "
        "say how far the choice of videos matters, and need at least two.</p>"
    )
    return section("figures", "Figures", about + table(head, rows, css="figures numbers") + note + _warning(results))


def plots(results: Results) -> str:
    """Each video's figures by all methods, the worst video first."""
    _, videos = ranked(results)
    charts = []
    for figure in (one for one in PLOTTED if one in figure_names(results)):
        series = {
            LABELS[method]: [
                found.value if (found := video.scores[method].figures.get(figure)) else None for video in videos
            ]
            for method in results.methods
        }
        if any(value is not None for values in series.values() for value in values):
            meaning = figure_info(figure)
            title = f"{meaning.title} {meaning.arrow}".strip()
            charts.append(dots(title, "videos, the worst first", [video.video for video in videos], series))
    shown_charts = f'<div class="charts">{"".join(charts)}</div>'
    return section("plots", "Videos one by one", legend(labels(results.methods)) + shown_charts)


def videos(results: Results) -> str:
    """The table of all videos and methods; all figures are in the CSV file."""
    listed = [figure for figure in LISTED if figure in figure_names(results)]
    head = ["Video", "Method", "Frames", *(escape(figure_info(figure).title) for figure in listed), "File"]
    rows: list[Row] = []
    for video in results.videos:
        for method, scores in video.scores.items():
            file = video.files.videos.get(method)
            cells = [_optional(scores.flat().get(figure)) for figure in listed]
            frames = Cell(f"{scores.num_frames}", scores.num_frames)
            rows.append(
                [name(video.video), escape(LABELS[method]), frames, *cells, link(file, "video") if file else "–"]
            )
    return section("videos", "All videos", table(head, rows, css="clips"))


def missing(results: Results) -> str:
    """What is not there, and why."""
    rows: list[Row] = [
        *([f"<code>{escape(key)}</code>", "all", escape(why)] for key, why in results.measured["skipped"].items()),
        *(
            [f"<code>{escape(key)}</code>", escape(LABELS[method]), escape(why)]
            for method, summary in results.summaries.items()
            for key, why in summary.left_out.items()
        ),
        *([name(one["video"]), "all", escape(one["reason"])] for one in results.set_aside),
    ]
    content = table(["Metric or video", "Method", "Why"], rows) if rows else "<p>Nothing was left out.</p>"
    return section("missing", "Left out", content)


def settings(results: Results) -> str:
    """How it was measured: enough to do it again."""
    networks = [
        [f"<code>{escape(key)}</code>", escape(one["network"]), "yes" if one["known"] else "no", _digests(one["files"])]
        for key, one in results.measured["networks"].items()
    ]
    shown_networks = table(["Metric", "Network", "Published weights", "SHA-256 of its files"], networks)
    pairs = _flat(dict(results.about) | {"measuring": results.measured["measuring"]})
    rows = [[f"<code>{escape(key)}</code>", f"<code>{escape(value)}</code>"] for key, value in pairs]
    return section(
        "settings",
        "How it was measured",
        (shown_networks if networks else "<p>No metric with a network was measured.</p>")
        + table(["Key", "Value"], rows, css="settings"),
    )


def _figure_row(results: Results, figure: str) -> Row:
    meaning = figure_info(figure)
    found = [summary.figures.get(figure) for summary in results.summaries.values()]
    title = f'<span title="{escape(meaning.description)}">{escape(meaning.title)}</span>'
    return [title, meaning.arrow, *(_figure_cell(one) for one in found)]


def _figure_cell(figure: Aggregate | None) -> Cell:
    if figure is None:
        return Cell("–", 0)
    mark = "†" if figure.rank_deficient else ""
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f'<span class="interval">[{four_digits(figure.low)}, {four_digits(figure.high)}]</span>'
    return Cell(f"{four_digits(figure.value)}{mark}{interval}", figure.value)


def _warning(results: Results) -> str:
    every = [figure for summary in results.summaries.values() for figure in summary.figures.values()]
    if not any(figure.rank_deficient for figure in every):
        return ""
    return (
        '<p class="warning">† From fewer samples than the features have dimensions: the distance is far too high, and '
        "can be compared only with others of exactly as many samples.</p>"
    )


def _optional(value: float | None) -> Cell:
    return Cell("–", -1e9) if value is None else Cell(four_digits(value), value)


def _digests(files: dict[str, str]) -> str:
    return "<br>".join(f"<code>{escape(digest)}</code>" for digest in files.values())


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in sorted(values.items()):
        if isinstance(value, dict) and value:
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, json.dumps(value, ensure_ascii=False)))
    return pairs


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
