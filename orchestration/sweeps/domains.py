"""What may be tried for one key: a list of values, or a range of numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """One of them, each as likely as the others."""
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`. log: whether its logarithm is spread evenly; step: between numbers, from `low`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(value, int) for value in (self.low, self.high)) and isinstance(self.step, int)

    def draw(self, generator: np.random.Generator) -> float:
        """A number of the range, rounded to six digits so that it can be written down."""
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9)
            value = self.low + self.step * int(generator.integers(count + 1))
            return int(value) if self.whole else float(f"{value:.6g}")
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = float(generator.uniform(low, high))
        return float(f"{math.exp(value) if self.log else value:.6g}")


Domain = Choice | Range


def parse_domain(key: str, value: Any) -> Domain:
    """From a sweep file's value. Raises ValueError naming the key."""
    if isinstance(value, list):
        if not value:
            raise ValueError(f"search: {key} has no values")
        doubles = [one for number, one in enumerate(value) if one in value[:number]]
        if doubles:
            raise ValueError(f"search: {key} has {doubles[0]!r} twice")
        return Choice(tuple(value))
    if isinstance(value, Mapping):
        return _range(key, value)
    raise ValueError(f"search: {key} = {value!r}: give a list of values, or a range such as {{low: 1, high: 8}}")


def _range(key: str, value: Mapping[str, Any]) -> Range:
    allowed = [one.name for one in fields(Range)]
    for name in value:
        if name not in allowed:
            raise ValueError(f"search: {key} has the unknown key {name}; allowed here: {', '.join(allowed)}")
    for name in ("low", "high", *(["step"] if value.get("step") is not None else [])):
        number = value.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"search: {key}.{name} must be a number, not {number!r}")
    if not isinstance(value.get("log", False), bool):
        raise ValueError(f"search: {key}.log must be true or false, not {value['log']!r}")
    found = Range(**value)
    if found.low >= found.high:
        raise ValueError(f"search: {key}.low = {found.low} must be below high = {found.high}")
    if found.log and (found.low <= 0 or found.step is not None):
        raise ValueError(f"search: {key}: log needs low above 0, and no step")
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise ValueError(f"search: {key}.step must be above 0 and at most high - low, not {found.step}")
    return found
