"""The page about a store: one HTML file that needs nothing else and asks nothing of any network."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from hia import __version__
from hia.data.store import ClipStore
from hia.inspection.html import escape, name
from hia.inspection.measures import HandMeasures
from hia.inspection.sections import Sheet, contact_sheets, distributions, overview, statistics
from hia.inspection.tables import clip_table, rejections, settings

LINKS = ("statistics", "distributions", "sheets", "clips", "rejected", "settings")


def render_page(store: ClipStore, hands: HandMeasures, sheets: Sequence[Sheet]) -> str:
    """The whole page as HTML."""
    style, script = (files("hia.inspection").joinpath(file).read_text("utf-8") for file in ("page.css", "page.js"))
    content = (
        *(statistics(store), distributions(store, hands), contact_sheets(sheets, len(store.clips))),
        *(clip_table(store, sheets), rejections(store.rejected), settings(store)),
    )
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_policy(style, script))}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>Clip store {escape(store.folder)}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            _header(store),
            "<main>\n",
            overview(store),
            *content,
            f"</main>\n<footer>hia {escape(__version__)}</footer>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _header(store: ClipStore) -> str:
    links = "".join(f'<a href="#{link}">{link.capitalize()}</a>' for link in LINKS)
    return (
        f"<header><h1>Clip store</h1><p>{name(store.folder)}</p>"
        f"<p><small>fingerprint <code>{escape(store.fingerprint)}</code></small></p><nav>{links}</nav></header>\n"
    )


def _policy(style: str, script: str) -> str:
    """Nothing may be fetched, and no script or style but the page's own has any effect."""
    return f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
