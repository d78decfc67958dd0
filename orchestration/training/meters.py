"""Where a step's time goes, on CPUs and GPUs alike."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

PARTS = ("data", "forward", "backward", "optimizer")


class Clock:
    """Sums the seconds of a step's parts. On a GPU they are measured there, without making it wait."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._steps, self._begin = 0, time.perf_counter()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Count what happens inside to a part."""
        if not self._gpu:
            begin = time.perf_counter()
            yield
            self._seconds[part] += time.perf_counter() - begin
            return
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        yield
        last.record()
        self._events.append((part, first, last))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out what happens inside, such as validation."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin

    def count_step(self) -> None:
        """One more optimizer step is done."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Seconds per step since the last restart, as a whole and by part; then restarts."""
        if self._events:
            torch.cuda.synchronize()
        for part, first, last in self._events:
            self._seconds[part] += first.elapsed_time(last) / 1000
        steps = max(1, self._steps)
        seconds = {"step": (time.perf_counter() - self._begin) / steps}
        seconds |= {part: self._seconds[part] / steps for part in PARTS}
        self.restart()
        return seconds


class Meter:
    """Means over the steps since the last reading; its state goes into checkpoints, so that means resume too."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Values of one step."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading; then begins anew."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """What `load` takes; JSON keeps it exactly."""
        return {"sums": self._sums, "count": self._count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._sums, self._count = dict(state["sums"]), state["count"]
