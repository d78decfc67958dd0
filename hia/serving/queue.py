"""Who may wait, and whose turn it is: one model copy computes one request after the other."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from hia.serving.errors import Busy, OutOfTime, RequestError

# How often one who waits looks whether it still must, in s.
LOOK = 0.1
T = TypeVar("T")


class RequestDeadline:
    """A request on its way: until when, whether anybody still waits for it, and what was wrong with it.

    seconds: from now to the latest answer. Not frozen: several threads hold the same one.
    """

    def __init__(self, seconds: float) -> None:
        self.arrived = time.monotonic()
        self.seconds = seconds
        self.error: RequestError | None = None
        self._left = threading.Event()

    def leave(self) -> None:
        """The client has gone, or has been answered otherwise."""
        self._left.set()

    def check(self) -> None:
        """Raises OutOfTime when the answer would come too late, or to nobody."""
        if self._left.is_set():
            raise OutOfTime("the client has gone")
        if self.remaining() <= 0:
            raise self.too_late()

    def remaining(self) -> float:
        """Seconds to the latest answer."""
        return self.arrived + self.seconds - time.monotonic()

    def too_late(self) -> OutOfTime:
        """What the client is told then."""
        return OutOfTime(f"no answer within {self.seconds:g} s, waiting included: ask for less, or later")


CURRENT_DEADLINE: ContextVar[RequestDeadline | None] = ContextVar("hia.serving.ticket", default=None)
"""The ticket of the request that is being answered: what was admitted at the door is not asked to queue again."""


class RequestQueue:
    """At most one in turn and `waiting` behind; for threads."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._admitted = 0
        self._count, self._turn = threading.Lock(), threading.Lock()

    @property
    def full(self) -> bool:
        """Whether the next one would be sent away."""
        return self._admitted > self.waiting

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place in the line for as long as the context lasts. Raises Busy, at once, when there is none."""
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
    def turn(self, ticket: RequestDeadline) -> Iterator[None]:
        """The model, for one at a time. Raises OutOfTime when the wait takes too long."""
        while not self._turn.acquire(timeout=LOOK):
            ticket.check()
        try:
            ticket.check()
            yield
        finally:
            self._turn.release()


class SingleThreadExecutor:
    """Does one thing after the other, for any number of threads that wait for it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "hia-model")

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises."""
        return self._executor.submit(work).result()
