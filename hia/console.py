"""Console behaviour: log levels of other libraries, SIGTERM as Ctrl-C, progress bars."""

import logging
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

# Without a terminal a bar is written to a log file, where each redraw adds a line.
SECONDS_BETWEEN_LOG_ENTRIES = 30.0


@contextmanager
def only_errors_logged(*loggers: str) -> Iterator[None]:
    """Temporarily log only errors of the named loggers."""
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
    """Turn SIGTERM into KeyboardInterrupt, so that the program cleans up as after Ctrl-C.

    Only the main thread gets signals: in other threads nothing is changed.
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
    """A progress bar on standard error, over `items` or updated by hand; redrawn rarely where that is no terminal."""
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
