"""A timer of named steps, for the summary of a run and its benchmark."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Timer:
    """Sums of wall time by step: `with timer("measure"): …`. An inner step's time does not count for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a block."""
        begin = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - begin
            self.seconds[step] += elapsed - self._inner.pop()
            if self._inner:
                self._inner[-1] += elapsed

    def each(self, step: str, items: Iterable[T]) -> Iterator[T]:
        """Time the production of each item."""
        iterator = iter(items)
        while True:
            with self(step):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
