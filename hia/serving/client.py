"""A client of a served model, with nothing but the standard library."""

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
DEFAULT_RETRY_SECONDS = 5.0
MAX_ERROR_BYTES = 64 << 10
VIDEOS = (".mp4", ".webm")


class ServerError(OSError):
    """A server that cannot be reached or answers with an error. status: of HTTP; None when it cannot be reached."""

    def __init__(self, message: str, status: int | None = None, retry_after: float = DEFAULT_RETRY_SECONDS) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True, eq=False)
class VideoResponse:
    """A video's bytes, and its properties as the server gives them (see `hia.serving.mlflow_model`)."""

    video: bytes
    about: dict[str, Any]


def request_video(
    url: str, files: Mapping[str, Path], params: Mapping[str, Any], timeout: float = 3600, patience: float = 0
) -> VideoResponse:
    """Send files (by column) and parameters to a server. While it is busy, try again for up to `patience` seconds.

    url: of the server, or of its endpoint. timeout: s without a byte. Raises ValueError for another kind of URL,
    FileNotFoundError, and ServerError with the server's message.
    """
    row = {column: encode_file(file) for column, file in files.items()}
    body = json.dumps({"dataframe_records": [row], "params": dict(params)}).encode()
    request = urllib.request.Request(endpoint_url(url), body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + patience
    while True:
        try:
            return _parse_response(_send(request, timeout))
        except ServerError as error:
            if error.status != BUSY or time.monotonic() + error.retry_after > deadline:
                raise
            time.sleep(error.retry_after)


def endpoint_url(url: str) -> str:
    """The URL of the endpoint, from a server's URL or its own. Raises ValueError for anything but an HTTP URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url} is no address of a server, such as http://localhost:5000")
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{ENDPOINT}"


def driving_column(file: Path) -> str:
    """The column that a driving motion's file belongs to."""
    return "driving_video" if file.suffix.lower() in VIDEOS else "driving_keypoints"


def encode_file(file: Path) -> str:
    """Read a file as text for its column: JSON as it is, the rest in base64.

    Raises FileNotFoundError and UnicodeDecodeError.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    is_json = file.suffix.lower() == ".json"
    return file.read_text(encoding="utf-8") if is_json else base64.b64encode(file.read_bytes()).decode("ascii")


def _send(request: urllib.request.Request, timeout: float) -> bytes:
    url = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(MAX_ERROR_BYTES)
        raise ServerError(f"{url}: {error.code}, {_error_message(text)}", error.code, _retry_seconds(error)) from None
    except (urllib.error.URLError, OSError) as error:
        raise ServerError(f"{url} does not answer: {getattr(error, 'reason', error)}") from None


def _error_message(text: bytes) -> str:
    """The message of an error response, or its beginning when it is not JSON with a message."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode("utf-8", "replace")[:300] or "without a word"


def _retry_seconds(error: urllib.error.HTTPError) -> float:
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else DEFAULT_RETRY_SECONDS


def _parse_response(text: bytes) -> VideoResponse:
    try:
        (about,) = json.loads(text)["predictions"]
        return VideoResponse(base64.b64decode(about.pop("video"), validate=True), about)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ServerError("the server's answer is no video: is it a model of hia?") from None
