"""Meters of training: seconds by part of a step, means of metrics, throughput."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from hia.training.flops import peak_teraflops

PARTS = ("data", "forward", "backward", "optimizer")


class StepTimer:
    """Seconds of the parts of a step. On a GPU they are measured by events, without a synchronisation in the step."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self.restart()

    def restart(self) -> None:
        """Set all times to zero."""
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._steps, self._begin = 0, time.perf_counter()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part."""
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
        """Leave the time of the block out, such as validation."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin

    def count_step(self) -> None:
        """Count one optimizer step."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Seconds per step since the last restart, in all and by part; resets."""
        if self._events:
            torch.cuda.synchronize()
        for part, first, last in self._events:
            self._seconds[part] += first.elapsed_time(last) / 1000
        steps = max(1, self._steps)
        seconds = {"step": (time.perf_counter() - self._begin) / steps}
        seconds |= {part: self._seconds[part] / steps for part in PARTS}
        self.restart()
        return seconds


class MeanMeter:
    """Means over the steps since the last reading; its state goes into checkpoints, so that means resume too."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of one step."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def read(self) -> dict[str, float]:
        """Means since the last reading; resets."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """The state for `load`; JSON keeps it exactly."""
        return {"sums": self._sums, "count": self._count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._sums, self._count = dict(state["sums"]), state["count"]


def throughput(flops: float, seconds: float, device: torch.device) -> dict[str, float]:
    """TFLOP/s of one worker, its share of the GPU's peak where that is known, and the GPU memory used at most."""
    peak = peak_teraflops(device)
    rate = {"teraflops_per_worker": flops / seconds / 1e12}
    if peak:
        rate["share_of_peak"] = rate["teraflops_per_worker"] / peak
    if device.type == "cuda":
        rate["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return rate
