"""One execution of a trial, in a process of its own that needs no CPU: it starts the chain, whose workers compute."""

import contextlib
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hia.config import Config
from orchestration.chain import Chain, Executed, stages_up_to
from orchestration.chain.execute import LAST_CHARACTERS, failure_reason
from orchestration.environment import COMMAND, EXPERIMENT_NAME, FORWARDED, TRACKING_URI
from orchestration.names import CONTENT_HASHES, EVALUATE
from orchestration.pipeline import StagesOf, tags
from orchestration.stages.content_hashes import ContentHashes
from orchestration.sweeps.algorithms import RESOURCE
from orchestration.sweeps.search_space import Trial
from orchestration.sweeps.spec import SweepSpec
from orchestration.sweeps.trials import Record, Sweep, begun, log_file, read_record
from orchestration.tracking import Run, connect_tracking
from orchestration.tracking.journal import TRAIN_PREFIX
from orchestration.tracking.provenance import command

# Variables that a trial's process must have with the driver's values, or not at all.
ENVIRONMENT = (*FORWARDED, TRACKING_URI, EXPERIMENT_NAME, COMMAND)


class TrialFailed(RuntimeError):
    """A trial failed; the message says why."""


@dataclass(frozen=True)
class Task:
    """The arguments of all trials' processes. parent: id of the sweep's tracking run; directory: the driver's own."""

    sweep: Sweep
    stages_of: StagesOf
    parent: str
    environment: Mapping[str, str | None]
    directory: str

    @classmethod
    def here(cls, sweep: Sweep, stages_of: StagesOf, parent: Run) -> "Task":
        """The task with this process' environment: to be called by the driver."""
        environment = {name: os.environ.get(name) for name in ENVIRONMENT} | {COMMAND: command()}
        return cls(sweep, stages_of, parent.id, environment, os.getcwd())


def run_trial(config: Mapping[str, Any], task: Task) -> None:
    """Ray Tune's function: one trial. Raises TrialFailed; SystemExit when the scheduler gives it up."""
    _apply_environment(task)
    trial = trial_of(config)
    record = read_record(task.sweep.folder, trial) or begun(trial)
    if not is_replayed(config):
        _Work(task, record).run()
        return
    for share in task.sweep.spec.shares:
        if (metrics := record.at(share)) is not None:
            _report(task, share, metrics)


def in_tune(trial: Trial, missing: bool) -> dict[str, Any]:
    """Ray Tune's configuration of a trial. missing: whether it is to run, whatever its record says.

    The values are in a list under a single key: Tune would take a mapping's own keys for something to be searched.
    """
    return {"trial": [dict(trial.values), missing]}


def trial_of(config: Mapping[str, Any]) -> Trial:
    """The trial of Ray Tune's configuration, made by `in_tune` or suggested by an algorithm."""
    return Trial(dict(config["trial"][0] if "trial" in config else config["values"]))


def is_replayed(config: Mapping[str, Any]) -> bool:
    """True if the trial is finished, and only reported to the scheduler, which judges the others by it."""
    return "trial" in config and not config["trial"][1]


class _Work:
    """One execution of a trial."""

    def __init__(self, task: Task, record: Record) -> None:
        self._task, self._sweep = task, task.sweep
        self._trial, self._record = record.trial, replace(record, state="running", reason="", measured={})
        self._began, self._before = time.monotonic(), record.seconds
        self._run: Run | None = None

    def run(self) -> None:
        """Train and evaluate, as long as the scheduler does not give the trial up, and record the metrics."""
        self._keep()
        try:
            run = self._start()
            for share in self._sweep.spec.shares:
                metrics = self._measure(share, run)
                if share < 1:
                    _report(self._task, share, metrics)
            run.finish("FINISHED")
        except Exception as error:
            self._fail(failure_reason(error))
            raise TrialFailed(failure_reason(error)) from None
        self._keep(state="done")
        _report(self._task, 1.0, metrics)

    def _start(self) -> Run:
        """Start the trial's tracking run, below the sweep's; those of its stages are below it."""
        self._tracking = connect_tracking(self._sweep.storage)
        config = self._sweep.config(self._trial)
        self._run = self._tracking.start_trial(
            *(self._task.parent, self._trial.label, self._sweep.fingerprint, self._trial.id),
            *(asdict(config), self._tags(config)),
        )
        self._keep(run_id=self._run.id)
        return self._run

    def _measure(self, share: float, run: Run) -> Mapping[str, float]:
        """Metrics of the chain with this share of the training's iterations. Raises what `Chain.run` raises."""
        executed = self._run_chain(self._sweep.config(self._trial, share), run)
        metrics = executed[-1].metrics
        check_metric(self._sweep.spec.metric, metrics)
        self._record = self._record.with_measured(share, executed)
        self._keep()
        run.log_metrics(metrics, step=round(100 * share))
        return metrics

    def _run_chain(self, config: Config, run: Run) -> tuple[Executed, ...]:
        storage = self._sweep.storage
        # What follows the evaluation (export, registration) is for the best trial only.
        stages = stages_up_to(self._task.stages_of(config, ContentHashes(storage / CONTENT_HASHES)), EVALUATE)
        chain = Chain(stages, config, storage, self._tracking, tags=self._tags(config), say=self._say)
        executed = chain.run(chain.plan(), run)
        run.note_stages(executed)
        return executed

    def _fail(self, why: str) -> None:
        self._keep(state="failed", reason=why)
        if self._run is not None:
            with contextlib.suppress(Exception):  # a server that is away hides no error
                self._run.set_tags({"hia.error": why[-LAST_CHARACTERS:]})
                self._run.finish("FAILED")

    def _tags(self, config: Config) -> dict[str, str]:
        return tags(config) | {"sweep": self._sweep.name}

    def _keep(self, **changes: Any) -> None:
        seconds = self._before + time.monotonic() - self._began
        self._record = replace(self._record, seconds=round(seconds, 1), **changes)
        self._record.write(self._sweep.folder)

    def _say(self, line: str) -> None:
        with log_file(self._sweep.folder, self._trial).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def check_metric(name: str, metrics: Mapping[str, float]) -> None:
    """Raises ValueError when a metric was not measured, or is not a number."""
    if (trained := f"{TRAIN_PREFIX}{name}") in metrics:
        raise ValueError(
            f"metric: {name} was not measured: the data have no clips that are kept out of training. Set "
            f"preprocess.test_share, or judge by the clips that were trained on: metric: {trained}"
        )
    if name not in metrics:
        raise ValueError(f"metric: {name} was not measured; the evaluation has {', '.join(sorted(metrics))}")
    if not math.isfinite(metrics[name]):
        raise ValueError(f"metric: {name} is {metrics[name]}, by which nothing can be compared")


def _report(task: Task, share: float, metrics: Mapping[str, float]) -> None:
    """Report to Ray Tune. Raises SystemExit when the scheduler gives the trial up; no work may follow it."""
    from ray import tune

    tune.report({"metric": metrics[task.sweep.spec.metric], RESOURCE: resource(task.sweep.spec, share)})


def resource(spec: SweepSpec, share: float) -> int:
    """The scheduler's unit of training: 1 at the first judgement, `reduction` times as much at each of the next."""
    return round(share / spec.shares[0])


def _apply_environment(task: Task) -> None:
    """Set the driver's environment and working folder, so that weights and the tracking server are found."""
    for name, value in task.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    with contextlib.suppress(OSError):  # on another machine
        os.chdir(task.directory)
