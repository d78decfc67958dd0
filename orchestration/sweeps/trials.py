"""A sweep on this machine: its folder, the configuration of each trial, and the record of each trial."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hia.config import Config, ConfigError, load_config, parse_config
from hia.io.files import write_json
from hia.io.hashing import json_digest
from orchestration.chain import Executed
from orchestration.job_paths import with_absolute_paths
from orchestration.sweeps.search_space import Trial
from orchestration.sweeps.spec import SweepSpec

SWEEPS = "sweeps"
TRIALS = "trials"
State = Literal["running", "done", "stopped", "failed"]
# Trials that are not run again; failed ones are.
FINAL = ("done", "stopped")


@dataclass(frozen=True)
class Sweep:
    """A specification with its base configuration on this machine; it is sent to the trials' processes.

    base: plain values of the configuration with `set`, but without `budget`, all paths absolute.
    """

    name: str
    spec: SweepSpec
    base: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the sweep, without its storage and the number of trials at a time."""
        spec = {key: value for key, value in self.spec.plain().items() if key != "concurrent"}
        spec["set"] = {key: value for key, value in spec["set"].items() if key != "storage"}
        return json_digest(spec, {key: value for key, value in self.base.items() if key != "storage"})

    @property
    def storage(self) -> Path:
        """The one storage of all trials."""
        return Path(self.base["storage"])

    @property
    def folder(self) -> Path:
        """Folder of the trials' records and of the results."""
        return self.storage / SWEEPS / f"{self.name}-{self.fingerprint[:8]}"

    def config(self, trial: Trial | None = None, share: float = 1.0, budget: bool = True) -> Config:
        """The configuration of a trial, or the base of all of them.

        share: of the training's iterations; budget: whether with the budget's changes.
        Raises ConfigError naming the sweep and the key.
        """
        values = dict(self.base)
        for changes in (self.spec.budget if budget else {}, trial.values if trial else {}):
            for key, value in changes.items():
                values = changed(values, key, value)
        config, _ = with_absolute_paths(parse_config(values, source=f"sweep {self.name}"))
        return shortened(config, share)


def resolve(name: str, spec: SweepSpec) -> tuple[Sweep, list[str]]:
    """Resolve a specification on this machine; also notes for the user about paths. Raises ConfigError."""
    values = asdict(load_config(spec.preset))
    for key, value in spec.set.items():
        values = changed(values, key, value)
    config = parse_config(values, source=f"sweep {name}: set")
    if spec.data is not None:
        config = replace(config, data=spec.data)
    config, notes = with_absolute_paths(config)
    return Sweep(name, spec, json.loads(json.dumps(asdict(config)))), notes


def changed(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Nested plain values with another value at a dotted key; unknown keys are refused later, by `parse_config`."""
    first, _, rest = key.partition(".")
    if not rest:
        return {**values, first: value}
    inner = values.get(first)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"unknown key {key}: {first} has no keys of its own")
    return {**values, first: changed(inner or {}, rest, value)}


def shortened(config: Config, share: float) -> Config:
    """The configuration with a share of every training stage's iterations, at least 1."""
    if share == 1:
        return config
    stages = {one.name: getattr(config.stages, one.name) for one in fields(config.stages)}
    fewer = {
        name: replace(stage, iterations=max(1, round(stage.iterations * share))) if stage.iterations else stage
        for name, stage in stages.items()
    }
    return replace(config, stages=replace(config.stages, **fewer))


@dataclass(frozen=True)
class Record:
    """The record of a trial: its state and measurements so far.

    state: `stopped` when the scheduler has given it up. measured: the evaluation's metrics by share of the training's
    iterations (as text, since JSON has no other keys). stages: of its last chain, each with what was done with it.
    began: Unix time; seconds: of all its executions. run_id: its tracking run.
    """

    values: Mapping[str, Any]
    state: State = "running"
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reason: str = ""
    stages: Sequence[Mapping[str, Any]] = ()
    began: float = 0.0
    seconds: float = 0.0
    run_id: str | None = None

    @property
    def trial(self) -> Trial:
        """The recorded trial."""
        return Trial(self.values)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The evaluation's metrics after the longest training so far; empty for none."""
        return self.measured[max(self.measured, key=float)] if self.measured else {}

    @property
    def share(self) -> float:
        """Share of the training's iterations at the last measurement."""
        return max(map(float, self.measured), default=0.0)

    def at(self, share: float) -> Mapping[str, float] | None:
        """Metrics after this share of the iterations; None without any."""
        return self.measured.get(f"{share:.6g}")

    def with_measured(self, share: float, executed: Sequence[Executed]) -> "Record":
        """The record with the metrics of another chain, whose last stage is the evaluation."""
        stages = tuple({"name": one.name, "action": one.action, "seconds": one.seconds} for one in executed)
        metrics = dict(executed[-1].metrics)
        return replace(self, measured={**self.measured, f"{share:.6g}": metrics}, stages=stages)

    def with_state(self, state: State, reason: str = "") -> "Record":
        """The record in another state."""
        return replace(self, state=state, reason=reason)

    def write(self, folder: Path) -> None:
        """Write the record to the sweep's folder."""
        file = _file(folder, self.trial)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(self))


def begun(trial: Trial) -> Record:
    """A new record of a trial that begins."""
    return Record(values=dict(trial.values), began=time.time())


def read_record(folder: Path, trial: Trial) -> Record | None:
    """Read the record of a trial; None when there is none, or its file is damaged."""
    return _read(_file(folder, trial))


def read_records(folder: Path) -> list[Record]:
    """Read the records of all trials that have begun, in that order."""
    found = [record for file in (folder / TRIALS).glob("*.json") if (record := _read(file)) is not None]
    return sorted(found, key=lambda record: record.began)


def log_file(folder: Path, trial: Trial) -> Path:
    """File of a trial's progress lines."""
    return folder / TRIALS / f"{trial.id}.log"


def _file(folder: Path, trial: Trial) -> Path:
    return folder / TRIALS / f"{trial.id}.json"


def _read(file: Path) -> Record | None:
    try:
        return Record(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
