"""A bounded request queue: one request is computed at a time, and a limited number wait."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from hia.serving.errors import Busy, OutOfTime, RequestError
from hia.serving.schema import RequestFields

# Seconds between two checks whether a waiting request must still wait.
POLL_SECONDS = 0.1
T = TypeVar("T")


class RequestContext:
    """The state of a request under way: its deadline, whether it was cancelled, its contents, and its error.

    seconds: from now to the latest answer. fields: the parsed body; None where there was no HTTP body. error: set by
    the endpoint, for the middleware to answer with. Not frozen, and shared by several threads.
    """

    def __init__(self, seconds: float, fields: RequestFields | None = None) -> None:
        self.arrived = time.monotonic()
        self.seconds = seconds
        self.fields = fields
        self.error: RequestError | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the work, because the client has gone or has been answered otherwise."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise OutOfTime when the answer would come too late, or to nobody."""
        if self._cancelled.is_set():
            raise OutOfTime("the client has gone")
        if self.remaining() <= 0:
            raise self.timeout_error()

    def remaining(self) -> float:
        """Seconds to the latest answer."""
        return self.arrived + self.seconds - time.monotonic()

    def timeout_error(self) -> OutOfTime:
        """The error that ends a request whose time is up."""
        return OutOfTime(f"no answer within {self.seconds:g} s, waiting included: ask for less, or later")


CURRENT_REQUEST: ContextVar[RequestContext | None] = ContextVar("hia.serving.request", default=None)
"""The request that an HTTP endpoint is answering: the middleware has admitted it to the queue and parsed its body."""


class RequestQueue:
    """A queue for threads: one request has its turn, up to `waiting` more wait for theirs."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._admitted = 0
        self._count, self._turn = threading.Lock(), threading.Lock()

    @property
    def full(self) -> bool:
        """True if the next request would be refused."""
        return self._admitted > self.waiting

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place in the queue while the context lasts. Raises Busy, at once, when there is none."""
        with self._count:
            if self.full:
                raise Busy(f"none of {self.waiting + 1} places is free: come again later")
            self._admitted += 1
        try:
            yield
        finally:
            with self._count:
                self._admitted -= 1

    @contextmanager
    def turn(self, request: RequestContext) -> Iterator[None]:
        """Wait for the model and hold it while the context lasts. Raises OutOfTime when the wait takes too long."""
        while not self._turn.acquire(timeout=POLL_SECONDS):
            request.check()
        try:
            request.check()
            yield
        finally:
            self._turn.release()


class SingleThreadExecutor:
    """Runs functions one after the other in one thread, for any number of threads that wait for their results.

    A model is loaded and used in one and the same thread. OpenMP, by which PyTorch shares an operator's work on a CPU,
    keeps helper threads for each thread that calls it, and stops letting them wait actively once there are more of them
    than cores: on two cores, videos took half as long again when a server's threads took turns.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "hia-model")

    def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises."""
        return self._executor.submit(function).result()
