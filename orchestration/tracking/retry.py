"""Calls to a tracking server that are repeated while it does not answer."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tqdm import tqdm

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE_SECONDS = 600.0
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 10.0

# MLflow's codes of transient server errors; any other code is the server's answer.
OVERLOADED = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")
# HTTP's codes of the same.
OVERLOADED_CODES = (408, 429, 500, 502, 503, 504)

Answer = TypeVar("Answer")


class TrackingUnavailable(ConnectionError):
    """The tracking server does not answer; the message has its address, the cause and a remedy. reason: in short."""

    reason = ""


class TrackingRefused(ValueError):
    """The tracking server answers, and refuses a request; the message says why."""


@dataclass
class Server:
    """Client of a tracking server, or of a database in its place. May be used by several threads.

    uri: its address. patience: seconds for which a call is repeated while the server is away. After they have run out
    once, calls are not repeated until one succeeds: a lost server does not cost the same time over and over.
    """

    client: "MlflowClient"
    uri: str
    patience: float = PATIENCE_SECONDS
    _retries_stopped: bool = False
    _warned: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """The address without a password."""
        return without_password(self.uri)

    def call_with_retry(self, what: str, function: Callable[[], Answer], patience: float | None = None) -> Answer:
        """Result of `function`, which is called again while the server is away.

        what: the purpose, in words, for error messages. Raises TrackingUnavailable when patience has run out, and
        TrackingRefused.
        """
        limit = 0.0 if self._retries_stopped else self.patience if patience is None else patience
        began, delay = time.monotonic(), FIRST_DELAY_SECONDS
        while True:
            try:
                return self.call(what, function)
            except TrackingUnavailable as away:
                if time.monotonic() - began + delay > limit:
                    self.stop_retrying()
                    raise
                if delay > FIRST_DELAY_SECONDS:
                    self.warn_once(away.reason)
            time.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)

    def call(self, what: str, function: Callable[[], Answer]) -> Answer:
        """Result of one call. Raises TrackingUnavailable or TrackingRefused in place of the clients' own errors."""
        try:
            answer = function()
        except TrackingRefused:
            raise
        except Exception as error:
            reason = short_reason(error)
            if not is_away(error):
                raise TrackingRefused(f"{what}: the tracking server {self.name} refused it: {reason}") from error
            away = TrackingUnavailable(
                f"{what}: the tracking server {self.name} does not answer ({reason}). Nothing that was made is lost: "
                "run the same command again when it is there"
            )
            away.reason = reason
            raise away from error
        self._note_answer()
        return answer

    def warn_once(self, reason: str) -> None:
        """Tell the user that the server is waited for; once, until it answers again."""
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            log(f"tracking server {self.name} does not answer ({reason}); trying again")

    def stop_retrying(self) -> None:
        """Call once only, until a call succeeds."""
        self._retries_stopped = True

    def _note_answer(self) -> None:
        self._retries_stopped = False
        if not self._warned:
            return
        with self._lock:
            warned, self._warned = self._warned, False
        if warned:
            log(f"tracking server {self.name} answers again")


def log(line: str) -> None:
    """Print a line on stderr, above any progress bars."""
    tqdm.write(line, file=sys.stderr)


def is_away(error: BaseException) -> bool:
    """True for an error of a server that is away or overloaded, so that the same call may succeed later."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError, RequestException

    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code in OVERLOADED_CODES
    if isinstance(error, RequestException):
        return True
    if isinstance(error, MlflowException):
        return error.error_code in OVERLOADED
    # A disk that is full or may not be written to, and our own mistakes; object stores have errors of their own.
    return isinstance(error, ConnectionError | TimeoutError) or not isinstance(
        error, OSError | ValueError | TypeError | LookupError | AttributeError
    )


def short_reason(error: BaseException) -> str:
    """The first cause of an error, in a line: `Connection refused` rather than the errors that followed from it."""
    for cause in reversed(list(_causes(error))):
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror}: {cause.filename}" if cause.filename else cause.strerror
    text = str(error).strip() or repr(error)
    if "timed out" in text or "timeout" in text:
        return "no answer in time, which MLFLOW_HTTP_REQUEST_TIMEOUT sets in seconds"
    return text.splitlines()[0][:300]


def without_password(uri: str) -> str:
    """An address without its password, to be shown."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
