"""The run of Ray Tune: as many trials at a time as the cluster has room for, with progress lines.

A trial's own process holds no CPU. It only starts the chain, whose training takes all its workers at once or waits for
them, and whose locks are waited for without holding any: so trials that wait never keep others from ending.

ASHA judges by complete trials: at each rung a trial's chain is trained from the start with a larger share of the
iterations, and evaluated. The validation losses of one longer training would come cheaper, but they are no measure:
γ changes the noise that they are about, and four stages have four different ones. Rungs are chains like any other, so
that they are found again; with a reduction of 3, all of a survivor's earlier rungs cost half of its last one.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from tqdm import tqdm

from hia.config import Config
from orchestration.chain.execute import format_duration
from orchestration.cluster import check_resources, num_slots
from orchestration.sweeps.plan import TrialPlan
from orchestration.sweeps.search_space import Trial
from orchestration.sweeps.spec import SweepSpec
from orchestration.sweeps.trial import Task, in_tune, is_replayed, run_trial, trial_of
from orchestration.sweeps.trials import FINAL, Record, Sweep, begun, log_file, read_record, read_records

if TYPE_CHECKING:
    from orchestration.tracking import Tracking

TUNE_FOLDER = ".tune"
# Tune requires every trial to request a resource; this much memory is free wherever its process can start.
NEXT_TO_NOTHING = {"cpu": 0.0, "memory": 2.0**20}


def fit(task: Task, plans: Sequence[TrialPlan], tracking: "Tracking", quiet: bool) -> None:
    """Run the trials that are missing. Ray must be connected; raises ValueError when there is no room."""
    sweep = task.sweep
    search = _search(sweep, plans)
    if not search["count"]:
        return
    concurrent = num_concurrent(sweep, [sweep.config(one.trial) for one in plans] or [sweep.config()])
    shutil.rmtree(sweep.folder / TUNE_FOLDER, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, task=task), NEXT_TO_NOTHING),
        param_space=search["space"],
        tune_config=tune.TuneConfig(
            metric="metric",
            mode=sweep.spec.mode,
            search_alg=search["algorithm"],
            scheduler=sweep.spec.trial_scheduler.tune_scheduler(sweep.spec.rungs, sweep.spec.reduction),
            num_samples=search["samples"],
            max_concurrent_trials=concurrent,
            reuse_actors=True,  # a process takes seconds to import what a trial needs
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(sweep.folder / TUNE_FOLDER),
            callbacks=[Progress(sweep, tracking, search["count"], quiet)],
            verbose=0,
        ),
    )
    # A failed trial is reported below, and in its tracking run.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        tuner.fit()
    finally:
        shutil.rmtree(sweep.folder / TUNE_FOLDER, ignore_errors=True)


def num_concurrent(sweep: Sweep, configs: Sequence[Config]) -> int:
    """Number of trials at a time. Raises ValueError when `concurrent`, or a single trial, does not fit."""
    most = max((config.training for config in configs), key=lambda one: one.workers * one.cpus_per_worker)
    each = {"CPU": most.cpus_per_worker, "GPU": most.gpus_per_worker}
    check_resources(most.workers, each, most.accelerator_type)
    fitting = num_slots(each, most.accelerator_type) // most.workers
    wanted = sweep.spec.concurrent
    if wanted is not None and wanted > fitting:
        raise ValueError(
            f"concurrent: {wanted} trials at a time need {wanted * most.workers} workers of {each['CPU']:g} CPUs and "
            f"{each['GPU']:g} GPUs, and the cluster has room for {fitting * most.workers}: set concurrent to at most "
            f"{fitting}, or leave it out"
        )
    return wanted or fitting


def _search(sweep: Sweep, plans: Sequence[TrialPlan]) -> dict[str, Any]:
    """Ray Tune's search: the trials to run; before them the finished ones, if the scheduler judges by those."""
    if not sweep.spec.search_algorithm.plans_ahead:
        return _suggesting_search(sweep)
    missing = [one for one in plans if not one.finished]
    known = [one for one in plans if one.finished and sweep.spec.trial_scheduler.stops_trials]
    if not missing:
        return {"count": 0}
    configs = [in_tune(one.trial, missing=not one.finished)["trial"] for one in (*known, *missing)]
    space = {"trial": tune.grid_search(configs)}
    return {"space": space, "algorithm": None, "samples": 1, "count": len(missing)}


def _suggesting_search(sweep: Sweep) -> dict[str, Any]:
    """Ray Tune's search with an algorithm that suggests values: as many trials as are left to do."""
    records = read_records(sweep.folder)
    name = sweep.spec.metric
    measured = {record.trial.id: record for record in records if record.state in FINAL}
    left = int(sweep.spec.trials or 0) - len(measured)
    if left <= 0:
        return {"count": 0}
    unfinished = [record.trial for record in records if record.trial.id not in measured][:left]
    known = [(record.trial, record.metrics[name]) for record in measured.values()]
    algorithm = sweep.spec.search_algorithm.searcher(sweep.spec.space, known, unfinished)
    return {"space": {}, "algorithm": algorithm, "samples": left, "count": left}


class Progress(tune.Callback):
    """Callback that prints a line for each trial that ends and the progress of its chain, and closes lost trials."""

    def __init__(self, sweep: Sweep, tracking: "Tracking", count: int, quiet: bool) -> None:
        self._sweep, self._tracking, self._count, self._quiet = sweep, tracking, count, quiet
        self._ended = 0
        self._running: dict[str, int] = {}  # position in the log of each up to which it was printed

    def __getstate__(self) -> dict[str, Any]:
        """No state: Tune saves itself to be restored; here, finished trials are found in the storage."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Print the trial's log from here on."""
        one = trial_of(trial.config)
        if is_replayed(trial.config):
            return
        file = log_file(self._sweep.folder, one)
        self._running[one.id] = file.stat().st_size if file.exists() else 0

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Print the new lines of the logs."""
        for trial in trials:
            one = trial_of(trial.config)
            if one.id in self._running:
                self._print_log(one)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a trial that is done, or given up by the scheduler, which ends its process without notice."""
        one = trial_of(trial.config)
        record = self._record(one)
        if is_replayed(trial.config):
            return
        if record.state == "running":
            record = record.with_state("stopped")
            record.write(self._sweep.folder)
            self._close(record, "FINISHED", {"hia.stopped": f"given up after {record.share:.3g} of the training"})
        self._print_end(one, record)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a trial that failed, or whose process was lost."""
        one = trial_of(trial.config)
        record = self._record(one)
        if record.state != "failed":
            why = f"its process was lost ({_last_line(trial.error_file)})"
            record = record.with_state("failed", why)
            record.write(self._sweep.folder)
            self._close(record, "FAILED", {"hia.error": why})
        self._print_end(one, record)

    def _record(self, trial: Trial) -> Record:
        return read_record(self._sweep.folder, trial) or begun(trial)

    def _close(self, record: Record, status: Any, why: Mapping[str, str]) -> None:
        if record.run_id is not None:
            self._tracking.close(record.run_id, status, why)

    def _print_log(self, trial: Trial) -> None:
        file = log_file(self._sweep.folder, trial)
        if not file.exists():
            return
        with file.open(encoding="utf-8") as text:
            text.seek(self._running[trial.id])
            lines = text.read()
            self._running[trial.id] = text.tell()
        for line in [] if self._quiet else lines.splitlines():
            tqdm.write(f"  {trial.label}: {line}")

    def _print_end(self, trial: Trial, record: Record) -> None:
        if trial.id in self._running:
            self._print_log(trial)
            del self._running[trial.id]
        self._ended += 1
        if not self._quiet:
            tqdm.write(f"[{self._ended}/{self._count}] {trial.label}: {describe_trial(record, self._sweep.spec)}")


def describe_trial(record: Record, spec: SweepSpec) -> str:
    """Describe the outcome of a trial in a line."""
    if record.state == "failed":
        return f"failed: {record.reason.strip().splitlines()[0]}"
    value = f"{spec.metric} {record.metrics[spec.metric]:.4g}"
    if record.state == "stopped":
        return f"{value} after {record.share:.3g} of the training, given up"
    ran = [one["name"] for one in record.stages if one["action"] != "reuse"]
    return f"{value}, in {format_duration(record.seconds)} ({'ran ' + ', '.join(ran) if ran else 'all reused'})"


def _last_line(file: str | None) -> str:
    try:
        with open(str(file), encoding="utf-8") as text:
            return text.read().strip().splitlines()[-1][:300]
    except (OSError, IndexError):
        return "no reason is known"
