"""The page about an evaluation: figures with their intervals, plots, videos, and how all was measured."""

from pathlib import Path
from typing import Any, NamedTuple

from hia.config.metrics import FigureInfo, figure_info, in_order
from hia.evaluation.aggregate import Aggregate
from hia.evaluation.protocol.results import EXPLAINED, LABELS, Results, figure_names
from hia.evaluation.report.cases import choose_cases, ranked
from hia.io.files import Folder
from hia.visualization.charts import Chart, dots_chart
from hia.visualization.html import flat_settings, render
from hia.visualization.text import four_digits

REPORT = "report.html"
LINKS = {
    "figures": "Figures",
    "plots": "Plots",
    "cases": "Worst and best",
    "videos": "All videos",
    "missing": "Left out",
    "settings": "Settings",
}
HEADLINES = ("psnr", "ssim", "lpips_alex", "fid", "fid_vid", "fvd")
# Figures that are plotted for every video, if they were measured.
PLOTTED = ("psnr", "ssim", "lpips_alex", "hands_psnr", "face_psnr", "dtssd")
# Columns of the table of videos; all figures are in the CSV file.
LISTED = ("psnr", "ssim", "l1", "lpips_alex", "hands_psnr", "face_psnr", "csim", "dtssd")


class Method(NamedTuple):
    """A method's name for people, and its explanation."""

    label: str
    explanation: str


class FigureRow(NamedTuple):
    """A figure of all methods, None where a method has none."""

    info: FigureInfo
    aggregates: list[Aggregate | None]


class VideoRow(NamedTuple):
    """A video's figures by one method. file: relative to the page, if there is one."""

    video: str
    label: str
    num_frames: int
    figures: dict[str, float]
    file: str | None


class Missing(NamedTuple):
    """A metric, or a video when `metric` is empty, that is absent, and the reason."""

    metric: str
    video: str
    method: str
    reason: str


def write_report(folder: str | Path, results: Results, title: str = "Evaluation") -> Path:
    """Write `report.html` into the evaluation's folder, of whose videos it shows some; returns its path.

    Raises OSError when it cannot be written, and VideoError for a video that cannot be read.
    """
    Folder(folder).write(REPORT, render_report(Path(folder), results, title).encode())
    return Path(folder) / REPORT


def render_report(folder: Path, results: Results, title: str) -> str:
    """The whole page as HTML."""
    figures = figure_rows(results)
    listed = [name for name in LISTED if name in figure_names(results)]
    return render(
        "evaluation/report/page.html",
        title=title,
        links=LINKS,
        about={"kind": "", **results.about},
        cards=_cards(results),
        methods=[Method(LABELS[method], EXPLAINED[method]) for method in results.methods],
        figures=figures,
        resampling=results.resampling,
        rank_deficient=any(one.rank_deficient for row in figures for one in row.aggregates if one is not None),
        charts=_charts(results),
        cases=choose_cases(results, folder),
        columns={name: figure_info(name).title for name in listed},
        videos=_video_rows(results),
        missing=_missing(results),
        networks=results.measured["networks"],
        settings=flat_settings(dict(results.about) | {"measuring": results.measured["measuring"]}),
    )


def figure_rows(results: Results) -> list[FigureRow]:
    """All figures of any method, in the order in which people look for them."""
    summaries = results.summaries.values()
    names = in_order(name for summary in summaries for name in summary.figures)
    return [FigureRow(figure_info(name), [summary.figures.get(name) for summary in summaries]) for name in names]


def _cards(results: Results) -> dict[str, str]:
    figures = results.summaries[results.methods[0]].figures
    cards = {"videos": f"{len(results.videos):,}"}
    cards |= {figure_info(key).title: four_digits(figures[key].value) for key in HEADLINES if key in figures}
    return cards | ({"set aside": f"{len(results.set_aside):,}"} if results.set_aside else {})


def _charts(results: Results) -> list[Chart]:
    """Each video's figures by all methods, the worst video first."""
    _, videos = ranked(results)
    charts = []
    for name in (one for one in PLOTTED if one in figure_names(results)):
        series = {
            LABELS[method]: [
                figure.value if (figure := video.scores[method].figures.get(name)) else None for video in videos
            ]
            for method in results.methods
        }
        if any(value is not None for values in series.values() for value in values):
            title = f"{figure_info(name).title} {figure_info(name).arrow}".strip()
            charts.append(dots_chart(title, "videos, the worst first", [video.video for video in videos], series))
    return charts


def _video_rows(results: Results) -> list[VideoRow]:
    return [
        VideoRow(video.video, LABELS[method], scores.num_frames, scores.flat(), video.files.videos.get(method))
        for video in results.videos
        for method, scores in video.scores.items()
    ]


def _missing(results: Results) -> list[Missing]:
    skipped: dict[str, Any] = results.measured["skipped"]
    return [
        *(Missing(key, "", "all", reason) for key, reason in skipped.items()),
        *(
            Missing(key, "", LABELS[method], reason)
            for method, summary in results.summaries.items()
            for key, reason in summary.left_out.items()
        ),
        *(Missing("", one["video"], "all", one["reason"]) for one in results.set_aside),
    ]
