"""The page as a whole."""

from pathlib import Path

from hia.config.metrics import figure_info
from hia.evaluation.protocol.results import LABELS, Results
from hia.evaluation.report import sections
from hia.evaluation.report.cases import cases
from hia.io.files import Folder
from hia.visualization.html import document, escape
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


def write_report(folder: str | Path, results: Results, title: str = "Evaluation") -> Path:
    """Write `report.html` into the evaluation's folder, of whose videos it shows some; returns its path.

    Raises OSError when it cannot be written, and VideoError for a video that cannot be read.
    """
    content = (
        *(_overview(results), sections.figures(results), sections.plots(results), cases(results, Path(folder))),
        *(sections.videos(results), sections.missing(results), sections.settings(results)),
    )
    Folder(folder).write(REPORT, document(title, _header(title, results), "".join(content)).encode())
    return Path(folder) / REPORT


def _header(title: str, results: Results) -> str:
    links = "".join(f'<a href="#{link}">{text}</a>' for link, text in LINKS.items())
    kind = results.about.get("kind", "")
    return f"<header><h1>{escape(title)}</h1><p>{escape(kind)}</p><nav>{links}</nav></header>\n"


def _overview(results: Results) -> str:
    method = results.methods[0]
    figures = results.summaries[method].figures
    cards = {"videos": f"{len(results.videos):,}"}
    cards |= {figure_info(key).title: four_digits(figures[key].value) for key in HEADLINES if key in figures}
    cards |= {"set aside": f"{len(results.set_aside):,}"} if results.set_aside else {}
    shown_cards = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in cards.items())
    return f'<dl class="cards">{shown_cards}</dl>\n<p>{escape(LABELS[method].capitalize())}.</p>\n'
