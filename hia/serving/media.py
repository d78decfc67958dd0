"""What strangers send: text in base64, JSON and pictures, read from memory and within limits.

Everything that is wrong is a RequestError naming the column.
"""

import base64
import io
import json
from typing import Any

from hia.images import Frame, read_image
from hia.serving.errors import RequestError, TooLarge
from hia.serving.limits import Limits

PICTURES = ("PNG", "JPEG", "WEBP")
# 133 points are as many lists of two numbers, and a score each.
JSON_VALUES, JSON_VALUES_PER_FRAME = 1000, 4 * 133 + 10


def decoded(text: str, name: str, most_bytes: int) -> bytes:
    """The bytes of a text in base64 (RFC 4648, without line breaks)."""
    if len(text) > 4 * (-(-most_bytes // 3)):
        raise TooLarge(f"{name}: more than {most_bytes:,} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise RequestError(f"{name}: this is no base64 (no line breaks, no data: prefix)") from None
    if not data:
        raise RequestError(f"{name}: the file is empty")
    return data


def parse_picture(data: bytes, name: str, limits: Limits) -> Frame:
    """A PNG, JPEG or WebP picture, RGB uint8 [H, W, 3], turned as its EXIF says. Its header is looked at first."""
    try:
        return read_image(io.BytesIO(data), name, PICTURES, limits.image_pixels)
    # Pillow's decoders raise what they please on damaged bytes.
    except Exception as error:
        text = _without_addresses(str(error)) if isinstance(error, ValueError) else f"{name}: not a readable image"
        raise RequestError(f"{text} (PNG, JPEG and WebP are taken)") from None


def strict_json(text: bytes, name: str, limits: Limits) -> dict[str, Any]:
    """A JSON object without NaN and infinities, and with no more in it than keypoints have.

    Raises RequestError, also for one that is nested too deeply. Millions of empty lists would take seconds to read.
    """
    most = JSON_VALUES + JSON_VALUES_PER_FRAME * limits.frames
    if sum(map(text.count, (b"[", b"{", b","))) > most:
        raise RequestError(f"{name}: the JSON has more than {most:,} values")

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        values = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise RequestError(f"{name}: the JSON is nested too deeply") from None
    except ValueError as error:
        raise RequestError(f"{name} is no JSON: {str(error)[:200]}") from None
    if not isinstance(values, dict):
        raise RequestError(f"{name} must be a JSON object")
    return values


def _without_addresses(text: str) -> str:
    """Pillow names the object that it could not read."""
    return text.partition(" (cannot identify image file")[0] if "<_io.BytesIO" in text else text
