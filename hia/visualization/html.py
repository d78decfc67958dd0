"""Self-contained HTML pages from jinja2 templates: nothing is fetched, and nothing but the page's own script runs.

Every value that a template shows goes through `escape`, because names of videos are untrusted.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hia import __version__
from hia.visualization.text import four_digits, printable


def render(template: str, **values: Any) -> str:
    """The text of a page: a template of the package, such as `inspection/page.html`, filled with values."""
    style, script = (files("hia.visualization").joinpath(file).read_text("utf-8") for file in ("page.css", "page.js"))
    own = {"style": Markup(style), "script": Markup(script), "policy": _policy(style, script), "version": __version__}
    return environment().get_template(template).render(own | values)


def escape(value: object) -> Markup:
    """The text of a value, safe inside elements and quoted attributes; markup that is safe already stays as it is."""
    if isinstance(value, Markup):
        return value
    # Surrogates, which stand for bytes of file names that are not UTF-8, are not printable and are replaced also.
    return Markup(html.escape(printable(str(value)), quote=True))


def identifier(clip_id: str) -> str:
    """A clip's id as part of a file's name or of an anchor: what is not plain in it becomes "_"."""
    return re.sub(r"[^A-Za-z0-9-]", "_", clip_id)


def thousands(value: float, digits: int = 0) -> str:
    """A number with its thousands apart."""
    return f"{value:,.{digits}f}"


def percentage(value: float) -> str:
    """A share as a percentage, with a decimal unless it is none or all."""
    return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings under dotted keys, sorted, with their values as JSON."""
    pairs: list[tuple[str, str]] = []
    for key, value in sorted(values.items()):
        if isinstance(value, dict) and value:
            pairs += flat_settings(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, json.dumps(value, ensure_ascii=False)))
    return pairs


@lru_cache(maxsize=1)
def environment() -> Environment:
    """jinja2 with the package's templates, which escape every value."""
    pages = Environment(
        loader=PackageLoader("hia", ""),
        autoescape=True,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {
        "four_digits": four_digits,
        "identifier": identifier,
        "percentage": percentage,
        "thousands": thousands,
    }
    return pages


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is fetched, and only the page's own script and style have any effect."""
    pictures = "img-src data:; media-src data:"
    return f"default-src 'none'; {pictures}; style-src {_digest(style)}; script-src {_digest(script)}"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
