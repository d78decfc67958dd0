"""The search space of a sweep: the values that each key may have, and a trial as one choice of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hia.io.hashing import json_digest


@dataclass(frozen=True)
class Choice:
    """A list of values, one of which is tried."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """Draw a value, each as likely as the others."""
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
        """True if only whole numbers are meant."""
        return all(isinstance(value, int) for value in (self.low, self.high)) and isinstance(self.step, int)

    def draw(self, generator: np.random.Generator) -> float:
        """Draw a number of the range, rounded to six digits so that it can be written down."""
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9)
            value = self.low + self.step * int(generator.integers(count + 1))
            return int(value) if self.whole else float(f"{value:.6g}")
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = float(generator.uniform(low, high))
        return float(f"{math.exp(value) if self.log else value:.6g}")


Domain = Choice | Range


def parse_domain(key: str, value: Any) -> Domain:
    """Read a domain from a sweep file's value. Raises ValueError naming the key."""
    if isinstance(value, list):
        if not value:
            raise ValueError(f"search: {key} has no values")
        doubles = [one for number, one in enumerate(value) if one in value[:number]]
        if doubles:
            raise ValueError(f"search: {key} has {doubles[0]!r} twice")
        return Choice(tuple(value))
    if isinstance(value, Mapping):
        return _parse_range(key, value)
    raise ValueError(f"search: {key} = {value!r}: give a list of values, or a range such as {{low: 1, high: 8}}")


def _parse_range(key: str, value: Mapping[str, Any]) -> Range:
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
    parsed = Range(**value)
    if parsed.low >= parsed.high:
        raise ValueError(f"search: {key}.low = {parsed.low} must be below high = {parsed.high}")
    if parsed.log and (parsed.low <= 0 or parsed.step is not None):
        raise ValueError(f"search: {key}: log needs low above 0, and no step")
    if parsed.step is not None and not 0 < parsed.step <= parsed.high - parsed.low:
        raise ValueError(f"search: {key}.step must be above 0 and at most high - low, not {parsed.step}")
    return parsed


@dataclass(frozen=True)
class SearchSpace:
    """The problem that an algorithm searches.

    domains: by dotted key; trials: their number, None for as many as there are combinations; mode: whether more or less
    of the metric is better.
    """

    domains: Mapping[str, Domain]
    trials: int | None
    mode: Literal["max", "min"]
    seed: int


@dataclass(frozen=True)
class Trial:
    """One choice of values by dotted key."""

    values: Mapping[str, Any]

    @cached_property
    def id(self) -> str:
        """Short digest of the values: the same for the same values."""
        return json_digest(self.values)[:8]

    @property
    def label(self) -> str:
        """The values to be read, such as `γ=0.5 ω=2`."""
        named = sorted((short_name(key), value) for key, value in self.values.items())
        return " ".join(f"{name}={format_value(value)}" for name, value in named)


def short_name(key: str) -> str:
    """Name of a key where there is little room: a symbol of the paper if it has one."""
    return {"schedule.gamma": "γ", "sampling.guidance_scale": "ω"}.get(key, key)


def format_value(value: Any) -> str:
    """A value to be read: numbers with six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
