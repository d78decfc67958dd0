"""All that a model computes is computed in one thread, that in which it was loaded.

OpenMP, which PyTorch's operators share their work with on a CPU, keeps helpers for each thread that calls them, and
stops having helpers wait actively once there are more of them than cores. On two cores that made videos take half as
long again in a server's threads as in a program's only one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class OneThread:
    """Does one thing after the other, for any number of threads that wait for it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "hia-model")

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises."""
        return self._executor.submit(work).result()
