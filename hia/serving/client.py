"""Asking a served model for a video, with nothing but the standard library."""

import base64
import binascii
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENDPOINT = "/invocations"
BUSY = 429
RETRY_AFTER = 5.0
MOST_OF_AN_ERROR = 64 << 10
VIDEOS = (".mp4", ".webm")


class ServerError(OSError):
    """The server gives no video. status: of HTTP; None when it cannot be reached."""

    def __init__(self, message: str, status: int | None = None, retry_after: float = RETRY_AFTER) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True, eq=False)
class Answer:
    """A video's bytes, and what the server says of it (see `hia.serving.mlflow_model`)."""

    video: bytes
    about: dict[str, Any]


def ask(
    url: str, files: Mapping[str, Path], params: Mapping[str, Any], timeout: float = 3600, patience: float = 0
) -> Answer:
    """Send files (by column) and parameters to a server. Where it is busy, come again for up to `patience` seconds.

    url: of the server, or of its endpoint. timeout: s without a byte. Raises ValueError for another kind of URL,
    FileNotFoundError, and ServerError with the server's own words.
    """
    row = {column: as_text(file) for column, file in files.items()}
    body = json.dumps({"dataframe_records": [row], "params": dict(params)}).encode()
    request = urllib.request.Request(endpoint(url), body, {"Content-Type": "application/json"})
    latest = time.monotonic() + patience
    while True:
        try:
            return _answer(_sent(request, timeout))
        except ServerError as error:
            if error.status != BUSY or time.monotonic() + error.retry_after > latest:
                raise
            time.sleep(error.retry_after)


def endpoint(url: str) -> str:
    """The address to ask at, of a server's or its own. Raises ValueError for what is no address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url} is no address of a server, such as http://localhost:5000")
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{ENDPOINT}"


def driving_column(file: Path) -> str:
    """The column that a driving motion's file belongs to."""
    return "driving_video" if file.suffix.lower() in VIDEOS else "driving_keypoints"


def as_text(file: Path) -> str:
    """A file as its column has it: JSON as it is, all else in base64. Raises FileNotFoundError, UnicodeDecodeError."""
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    is_json = file.suffix.lower() == ".json"
    return file.read_text(encoding="utf-8") if is_json else base64.b64encode(file.read_bytes()).decode("ascii")


def _sent(request: urllib.request.Request, timeout: float) -> bytes:
    where = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(MOST_OF_AN_ERROR)
        raise ServerError(f"{where}: {error.code}, {_said(text)}", error.code, _pause(error)) from None
    except (urllib.error.URLError, OSError) as error:
        raise ServerError(f"{where} does not answer: {getattr(error, 'reason', error)}") from None


def _said(text: bytes) -> str:
    """An error's message, or the beginning of whatever came instead."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode("utf-8", "replace")[:300] or "without a word"


def _pause(error: urllib.error.HTTPError) -> float:
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else RETRY_AFTER


def _answer(text: bytes) -> Answer:
    try:
        (about,) = json.loads(text)["predictions"]
        return Answer(base64.b64decode(about.pop("video"), validate=True), about)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ServerError("the server's answer is no video: is it a model of hia?") from None
