"""Samples that kill the process that reads them; beside the tests, so that worker processes can import them."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hia.data.sampling import Sample, TrainingSamples


class DeadlySamples(TrainingSamples):
    """Samples that end the process when one of `deadly` positions is read: each time, or once with a `marker`."""

    def __init__(self, *arguments: Any, deadly: Sequence[int], marker: Path | None = None) -> None:
        super().__init__(*arguments)
        self.deadly, self.marker = deadly, marker

    def __getitem__(self, position: int) -> Sample:
        if position in self.deadly and not (self.marker and self.marker.exists()):
            if self.marker:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(position)
