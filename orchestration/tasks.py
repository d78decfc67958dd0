"""Independent pieces of work as Ray tasks, each with the resources of a training worker."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from hia.training.settings import TrainingConfig
from orchestration.cluster import check_resources, worker_environment


@dataclass(frozen=True)
class Outcome:
    """What became of the job with this index: its value, or the error that it raised or by which it was lost."""

    index: int
    value: Any = None
    error: Exception | None = None


def in_tasks(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], training: TrainingConfig
) -> Iterator[Outcome]:
    """Call `function(*job)` for each job in a task of its own; outcomes as they come.

    As many run at once as there are training workers: what these need fits into the machines. A job whose process is
    lost is tried again, `training.most_failures` times in all. Ray must be connected. Raises ValueError when there is
    no room for a single one.
    """
    resources = {"CPU": training.cpus_per_worker, "GPU": training.gpus_per_worker}
    check_resources(1, resources, training.accelerator_type)
    task = ray.remote(function).options(
        num_cpus=training.cpus_per_worker,
        num_gpus=training.gpus_per_worker,
        accelerator_type=training.accelerator_type,
        scheduling_strategy="DEFAULT",  # wherever there is room: in a sweep, not in the corner that its trial was given
        max_retries=0,  # Ray would try what ran out of memory again for ever
        runtime_env=worker_environment(),
    )
    waiting = list(range(len(jobs)))
    losses_left, running = training.most_failures, dict[Any, int]()
    try:
        while waiting or running:
            while waiting and len(running) < training.workers:
                index = waiting.pop(0)
                running[task.remote(*jobs[index])] = index
            (reference,), _ = ray.wait(list(running), num_returns=1)
            outcome = _outcome(reference, index := running.pop(reference))
            if isinstance(outcome.error, RayError) and losses_left:
                losses_left -= 1
                waiting.append(index)
            else:
                yield outcome
    finally:
        for reference in running:
            with contextlib.suppress(RayError):
                ray.cancel(reference, force=True)


def _outcome(reference: Any, index: int) -> Outcome:
    try:
        return Outcome(index, value=ray.get(reference))
    except RayTaskError as error:
        cause = error.cause
        return Outcome(index, error=cause if isinstance(cause, Exception) else RuntimeError(str(error)))
    except RayError as error:
        return Outcome(index, error=error)
