"""Pieces of HTML. Everything that comes from a store goes through `escape`: names of videos are anyone's."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from hia import __version__
from hia.visualization.text import printable


@dataclass(frozen=True)
class Cell:
    """A cell of a table: HTML, and the number that it is sorted by; without one it is text, sorted as such."""

    content: str
    number: float | None = None


Row = Sequence[Cell | str]


def escape(value: object) -> str:
    """The text of a value, safe inside elements and quoted attributes."""
    # Surrogates, which stand for bytes of file names that are not UTF-8, count as not printable and go as well.
    return html.escape(printable(str(value)), quote=True)


def name(value: object) -> str:
    """A name from outside, kept apart from the text around it whatever its direction of writing."""
    return f"<bdi>{escape(value)}</bdi>"


def identifier(clip_id: str) -> str:
    """A clip's id as part of a file's name or of an anchor: what is not plain in it becomes "_"."""
    return re.sub(r"[^A-Za-z0-9-]", "_", clip_id)


def table(header: Sequence[str], rows: Iterable[Row], *, css: str = "", identity: str = "") -> str:
    """A table of HTML cells; the columns of numbers are flush right."""
    attributes = f' class="{escape(css)}"' * bool(css) + f' id="{escape(identity)}"' * bool(identity)
    head = "".join(f'<th scope="col">{title}</th>' for title in header)
    body = "\n".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table{attributes}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def number(value: float, digits: int = 0, suffix: str = "") -> Cell:
    """A cell with a number, its thousands apart."""
    return Cell(f"{value:,.{digits}f}{suffix}", value)


def share(value: float) -> Cell:
    """A cell with a share as a percentage."""
    return Cell(f"{value:.0%}" if value in (0, 1) else f"{value:.1%}", value)


def section(identity: str, title: str, content: str) -> str:
    """A section of the page."""
    return f'<section id="{identity}">\n<h2>{title}</h2>\n{content}\n</section>\n'


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{cell}</td>"
    value = "" if cell.number is None else f' class="number" data-value="{cell.number:.6g}"'
    return f"<td{value}>{cell.content}</td>"


def document(title: str, header: str, content: str) -> str:
    """The file's text. title: as it is; header, content: HTML; tables of the class `clips` can be sorted."""
    style, script = (files("hia.visualization").joinpath(file).read_text("utf-8") for file in ("page.css", "page.js"))
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_policy(style, script))}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            header,
            "<main>\n",
            content,
            f"</main>\n<footer>hia {escape(__version__)}</footer>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _policy(style: str, script: str) -> str:
    """Nothing may be fetched, and no script or style but the page's own has any effect."""
    pictures = "img-src data:; media-src data:"
    return f"default-src 'none'; {pictures}; style-src {_digest(style)}; script-src {_digest(script)}"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
