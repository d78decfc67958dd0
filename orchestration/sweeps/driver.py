"""The driver of a sweep: it checks the file, plans the trials, runs the missing ones, and writes the results."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from hia.config import ConfigError
from hia.config.loading import parse_override
from hia.io.files import write_bytes
from orchestration.chain.execute import final_status
from orchestration.environment import RAY_TUNE, set_defaults
from orchestration.names import CONTENT_HASHES
from orchestration.pipeline import StagesOf, project_stages
from orchestration.preflight import check, check_writable
from orchestration.sweeps.plan import TrialPlan, plan_trials, trial_plan_table
from orchestration.sweeps.results import end_summary, write_results
from orchestration.sweeps.spec import load_sweep
from orchestration.sweeps.trials import Record, Sweep, read_records, resolve

if TYPE_CHECKING:
    from orchestration.tracking import Run, Tracking


class SweepIncomplete(RuntimeError):
    """Some trials failed; the others are done."""


def run(arguments: argparse.Namespace, stages_of: StagesOf | None = None) -> None:
    """Plan the trials; without --dry-run, run the missing ones. Raises what the command explains.

    stages_of: the chain of a configuration, instead of the project's own.
    """
    sweep = checked_sweep(arguments)
    stages_of = stages_of or project_stages()
    plans = planned_trials(sweep, stages_of, arguments.config)
    if arguments.dry_run:
        tqdm.write(trial_plan_table(sweep, plans))
        return
    check_writable(sweep.storage)
    with _alone(sweep):
        carry_out(sweep, plans, stages_of, arguments.quiet)


def checked_sweep(arguments: argparse.Namespace) -> Sweep:
    """Read a sweep file and check the configurations of all its trials, before anything heavy is imported."""
    file = Path(arguments.config)
    spec = load_sweep(file, arguments.data, dict(map(parse_override, arguments.set)))
    sweep, notes = resolve(file.stem, spec)
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    spec.search_algorithm.check_installed()
    for config in [sweep.config(trial) for trial in spec.known_trials()] or [sweep.config()]:
        check(config)
    return sweep


def planned_trials(sweep: Sweep, stages_of: StagesOf, file: str) -> list[TrialPlan]:
    """Plan the trials before any runs. Raises ConfigError naming the file for a scheduler that saves nothing."""
    from orchestration.stages.content_hashes import ContentHashes

    spec = sweep.spec
    contents = ContentHashes(sweep.storage / CONTENT_HASHES)
    plans = plan_trials(sweep, spec.known_trials(), stages_of, contents)
    contents.remember()
    if spec.trial_scheduler.stops_trials and len(plans) > 1 and len({plan.training for plan in plans}) == 1:
        raise ConfigError(
            f"{file}: scheduler: {spec.scheduler} saves training, but nothing in search changes the training: use "
            "scheduler: none"
        )
    return plans


def carry_out(sweep: Sweep, plans: Sequence[TrialPlan], stages_of: StagesOf, quiet: bool) -> None:
    """Run the missing trials and write the results. Raises SweepIncomplete when trials failed."""
    from orchestration.tracking import connect_tracking

    write_spec(sweep)
    tracking = connect_tracking(sweep.storage)
    tracking.close_orphans()
    parent = tracking.start_sweep(sweep.name, sweep.fingerprint, sweep.spec.plain(), {"sweep": sweep.name})
    with final_status(parent):
        if any(not one.finished for one in plans) or not sweep.spec.search_algorithm.plans_ahead:
            with _closing(tracking, parent), ExitStack() as cluster:
                tune(sweep, plans, stages_of, tracking, parent, quiet, cluster)
        records = present_records(sweep, plans)
        results = write_results(sweep, records)
        results.log(parent)
        tqdm.write(end_summary(sweep, results, parent))
        if results.failed:
            one = results.failed[0]
            raise SweepIncomplete(
                f"{len(results.failed)} of {len(records)} trials failed, such as {one.trial.label}: {one.reason}"
            )


def tune(
    sweep: Sweep,
    plans: Sequence[TrialPlan],
    stages_of: StagesOf,
    tracking: "Tracking",
    parent: "Run",
    quiet: bool,
    cluster: ExitStack,
) -> None:
    """Run the missing trials with Ray Tune. Raises ValueError when the cluster has no room for the trials."""
    set_defaults(RAY_TUNE)
    import ray

    from orchestration.cluster import connected
    from orchestration.sweeps.trial import Task
    from orchestration.sweeps.tune import fit

    if not ray.is_initialized():
        cluster.enter_context(connected())
    fit(Task.here(sweep, stages_of, parent), plans, tracking, quiet)


def present_records(sweep: Sweep, plans: Sequence[TrialPlan]) -> list[Record]:
    """Records of the sweep's trials, in their order, without those that have not begun."""
    records = {record.trial.id: record for record in read_records(sweep.folder)}
    if not sweep.spec.search_algorithm.plans_ahead:
        return list(records.values())
    return [records[one.trial.id] for one in plans if one.trial.id in records]


def write_spec(sweep: Sweep) -> None:
    """Write the sweep file, with all defaults, beside the results."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(sweep.spec.plain(), allow_unicode=True, sort_keys=False)
    write_bytes(sweep.folder / "sweep.yaml", text.encode())


@contextlib.contextmanager
def _alone(sweep: Sweep) -> Iterator[None]:
    """Refuse a second driver of the same sweep: the trials of both would be the same."""
    sweep.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(sweep.folder.with_name(f".{sweep.folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"sweep {sweep.name}: another process is at it, in {sweep.folder}; wait until it ends"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _closing(tracking: "Tracking", parent: "Run") -> Iterator[None]:
    """Leave no run of a trial RUNNING after an error, when the trials' processes are gone."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            tracking.close_below(parent.id, {"hia.error": "the sweep was ended while this went on"})
        raise
