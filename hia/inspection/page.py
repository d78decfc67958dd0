"""The page about a store: one HTML file that needs nothing else and asks nothing of any network."""

from collections.abc import Sequence

from hia.data.store import ClipStore
from hia.inspection.document import document
from hia.inspection.html import escape, name
from hia.inspection.measures import HandMeasures
from hia.inspection.sections import Sheet, contact_sheets, distributions, overview, statistics
from hia.inspection.tables import clip_table, rejections, settings

LINKS = ("statistics", "distributions", "sheets", "clips", "rejected", "settings")


def render_page(store: ClipStore, hands: HandMeasures, sheets: Sequence[Sheet]) -> str:
    """The whole page as HTML."""
    content = (
        *(overview(store), statistics(store), distributions(store, hands), contact_sheets(sheets, len(store.clips))),
        *(clip_table(store, sheets), rejections(store.rejected), settings(store)),
    )
    return document(f"Clip store {store.folder}", _header(store), "".join(content))


def _header(store: ClipStore) -> str:
    links = "".join(f'<a href="#{link}">{link.capitalize()}</a>' for link in LINKS)
    return (
        f"<header><h1>Clip store</h1><p>{name(store.folder)}</p>"
        f"<p><small>fingerprint <code>{escape(store.fingerprint)}</code></small></p><nav>{links}</nav></header>\n"
    )
