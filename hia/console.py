"""Silencing what another library says about itself, where it means nothing to our users."""

import logging
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

# In a log file a bar is a line that grows; nobody looks at it ten times a second.
SECONDS_BETWEEN_LOG_ENTRIES = 30.0


@contextmanager
def only_errors_logged(*loggers: str) -> Iterator[None]:
    """Let the named loggers speak of errors only, for a while."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end a program as Ctrl-C does, by KeyboardInterrupt, so that it cleans up behind itself.

    Outside the main thread, which alone gets signals, nothing is changed.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def progress_bar(
    items: Iterable[Any] | None = None, *, total: int, label: str, unit: str = "it", shown: bool = True
) -> "tqdm[Any]":
    """A bar on the standard error, over `items` or updated by hand; without a terminal there it is seldom redrawn."""
    interval = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LOG_ENTRIES
    return tqdm(
        items,
        total=total,
        desc=label,
        unit=unit,
        disable=not shown,
        mininterval=interval,
        maxinterval=max(10.0, interval),
        dynamic_ncols=True,
    )
