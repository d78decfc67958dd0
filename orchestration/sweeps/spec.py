"""A sweep file: which values to try, how, and by what to judge them."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hia.config import ConfigError
from hia.config.loading import config_path

STRICT = ConfigDict(extra="forbid")
# All trials share one storage, where they find what others have done, and the tracking server is told the preset.
NEVER_SEARCHED = ("storage", "preset")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """One of them, each as likely as the others."""
        return self.values[int(generator.integers(len(self.values)))]


@dataclasses.dataclass(frozen=True)
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


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SweepSpec:
    """The content of a sweep file.

    preset: name or YAML file, which may lie beside the sweep file; data: as of run_all.py. set: changes in all trials
    and in the best configuration; budget: changes in all trials only, such as shorter training. Both by dotted key.
    search: for each dotted key the values to try, or a range of them. trials: how many (random, optuna).
    metric: of the evaluation; mode: whether more of it is better. concurrent: trials at a time; None for as many as the
    cluster has room for. seed: of the search, not of the trials.
    scheduler: `asha` trains in `rungs` rounds, each `reduction` times as long as the one before, with the best.
    """

    preset: str = "quickstart"
    data: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any]
    algorithm: Literal["grid", "random", "optuna"] = "grid"
    trials: PositiveInt | None = None
    metric: str = "psnr"
    mode: Literal["max", "min"] = "max"
    scheduler: Literal["none", "asha"] = "none"
    rungs: Annotated[int, Field(ge=2, le=10)] = 3
    reduction: Annotated[int, Field(ge=2, le=100)] = 3
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    concurrent: PositiveInt | None = None

    def __post_init__(self) -> None:
        if not self.search:
            raise ValueError("search: name at least one key, such as schedule.gamma: [0.25, 0.5, 1.0]")
        for key in self.search:
            if key.partition(".")[0] in NEVER_SEARCHED:
                raise ValueError(f"search: {key} is the same for all trials")
            for other in ("set", "budget"):
                if key in getattr(self, other):
                    raise ValueError(f"{key} is both in search and in {other}: leave it out of one")
        domains = self.domains
        ranges = [key for key, domain in domains.items() if not isinstance(domain, Choice)]
        if self.algorithm == "grid" and ranges:
            raise ValueError(f"search: {ranges[0]} is a range, and a grid needs lists: set algorithm: random or optuna")
        if self.algorithm == "grid" and self.trials is not None:
            raise ValueError("trials: a grid tries every combination; leave it out, or set algorithm: random")
        if self.algorithm != "grid" and self.trials is None:
            raise ValueError(f"trials: say how many trials algorithm: {self.algorithm} may make")

    @property
    def domains(self) -> dict[str, Domain]:
        """What may be tried for each key."""
        return {key: parse_domain(key, value) for key, value in self.search.items()}

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the training's iterations after which trials are judged; the last one is 1."""
        if self.scheduler == "none":
            return (1.0,)
        return tuple(self.reduction ** (number - self.rungs + 1) for number in range(self.rungs))

    def better(self, value: float, other: float) -> bool:
        """Whether a value of the metric is better than another."""
        return value > other if self.mode == "max" else value < other

    def plain(self) -> dict[str, Any]:
        """The content of a sweep file that says the same."""
        return asdict(self)


def load_sweep(file: str | Path, data: str | None = None, changes: Mapping[str, Any] | None = None) -> SweepSpec:
    """Read a sweep file. data, changes: in place of the file's `data`, and over its `set`.

    Raises ConfigError naming the file and the key for anything unknown, ill-typed or contradictory.
    """
    path = Path(file)
    values = _read(path)
    known = [one.name for one in fields(SweepSpec)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"{path}: unknown key {key}{guess}; allowed here: {', '.join(known)}")
    for key in ("set", "budget"):
        if isinstance(values.get(key), Mapping):
            values[key] = dict(_flat(values[key]))
    if changes:
        values["set"] = {**(values.get("set") or {}), **changes}
    if data is not None:
        values["data"] = data
    values.setdefault("search", {})
    values["preset"] = _preset(path, values.get("preset", SweepSpec.preset))
    try:
        return TypeAdapter(SweepSpec).validate_python(
            {key: value for key, value in values.items() if value is not None}
        )
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(map(_explain, error.errors()))}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the sweep file cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, such as preset, search and metric")
    return values


def _preset(file: Path, preset: Any) -> Any:
    """A YAML file beside the sweep file by its absolute path; a preset's name as it is."""
    if not isinstance(preset, str):
        return preset
    beside = file.parent / preset
    if beside.suffix in (".yaml", ".yml") and beside.is_file():
        return str(beside.resolve())
    try:
        found = config_path(preset)
    except ConfigError as error:
        raise ConfigError(f"{file}: preset: {error}") from None
    return str(found.resolve()) if Path(preset).suffix in (".yaml", ".yml") else preset


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Nested changes by dotted key: `{stages: {spatial: {iterations: 3}}}` is `stages.spatial.iterations: 3`."""
    return [
        item
        for key, value in values.items()
        for item in (_flat(value, f"{path}{key}.") if isinstance(value, Mapping) else [(f"{path}{key}", value)])
    ]


def _explain(error: Any) -> str:
    path = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{path} = {error['input']!r}: {message}" if path else message
