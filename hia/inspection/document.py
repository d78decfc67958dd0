"""An HTML file that needs nothing else and asks nothing of any network: the frame of all pages."""

import base64
import hashlib
from importlib.resources import files

from hia import __version__
from hia.inspection.html import escape


def document(title: str, header: str, content: str) -> str:
    """The file's text. title: as it is; header, content: HTML; tables of the class `clips` can be sorted."""
    style, script = (files("hia.inspection").joinpath(file).read_text("utf-8") for file in ("page.css", "page.js"))
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
