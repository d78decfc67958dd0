"""The sweep file: the values to try, the algorithm and scheduler, and the metric that judges."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hia.config import ConfigError
from hia.config.loading import config_path, explain
from hia.config.types import STRICT
from orchestration.sweeps.algorithms import ALGORITHMS, SCHEDULERS, Algorithm, Scheduler
from orchestration.sweeps.search_space import Domain, SearchSpace, Trial, parse_domain

if TYPE_CHECKING:  # a type checker knows literal names only
    AlgorithmName: TypeAlias = str
    SchedulerName: TypeAlias = str
else:
    AlgorithmName, SchedulerName = Literal[tuple(ALGORITHMS)], Literal[tuple(SCHEDULERS)]
# All trials share one storage, in which they reuse each other's stages, and one preset, under which they are tracked.
NEVER_SEARCHED = ("storage", "preset")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SweepSpec:
    """The content of a sweep file.

    preset: name or YAML file, which may lie beside the sweep file; data: as in run_all.py. set: changes in all trials
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
    algorithm: AlgorithmName = "grid"
    trials: PositiveInt | None = None
    metric: str = "psnr"
    mode: Literal["max", "min"] = "max"
    scheduler: SchedulerName = "none"
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
        self.search_algorithm.check(self.space)

    @property
    def search_algorithm(self) -> Algorithm:
        """The strategy that chooses values."""
        return ALGORITHMS[self.algorithm]

    @property
    def trial_scheduler(self) -> Scheduler:
        """The strategy that decides how long trials are trained."""
        return SCHEDULERS[self.scheduler]

    @property
    def domains(self) -> dict[str, Domain]:
        """The values that may be tried, by key."""
        return {key: parse_domain(key, value) for key, value in self.search.items()}

    @property
    def space(self) -> SearchSpace:
        """The problem that the algorithm searches."""
        return SearchSpace(self.domains, self.trials, self.mode, self.seed)

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the training's iterations after which trials are judged; the last one is 1."""
        return self.trial_scheduler.shares(self.rungs, self.reduction)

    def known_trials(self) -> tuple[Trial, ...]:
        """The trials known before any has run. Raises ValueError for an impossible number."""
        return self.search_algorithm.trials(self.space)

    def better(self, value: float, other: float) -> bool:
        """True if a value of the metric is better than another."""
        return value > other if self.mode == "max" else value < other

    def plain(self) -> dict[str, Any]:
        """The content of an equal sweep file, as plain values."""
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
        raise ConfigError(f"{path}: {explain(error)}") from None


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
    """Absolute path of a YAML file, which may lie beside the sweep file; a preset's name as it is."""
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
