"""Progress bars that suit where they are shown."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

# In a log file a bar is a line that grows; nobody looks at it ten times a second.
SECONDS_BETWEEN_LOG_ENTRIES = 30.0


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
