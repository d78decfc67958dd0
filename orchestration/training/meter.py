"""Averages of a step's values from one line of metrics to the next."""

from collections.abc import Mapping
from typing import Any


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
