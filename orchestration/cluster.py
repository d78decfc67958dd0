"""Connection to a Ray cluster, its resources, and tasks on it."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from hia.config import TrainingConfig
from hia.console import interrupt_on_sigterm
from orchestration.environment import FORWARDED, RAY, RAY_ADDRESS, set_defaults

# Ray starts with too few logical CPUs to run actors and the tasks around them on a small machine: it waits for ever.
LEAST_LOGICAL_CPUS = 4
LOCAL_OBJECT_STORE_BYTES = 200_000_000


def connect(address: str | None = None, num_cpus: int | None = None) -> None:
    """Join the cluster at `address`, the one this job was submitted to, or start one on this machine.

    num_cpus: logical CPUs of a cluster started here, by default the machine's cores, but 4 at least. Raises
    ConnectionError when there is no cluster at the address.
    """
    if ray.is_initialized():
        return
    address = address or os.environ.get(RAY_ADDRESS)
    quiet = silence_ray()
    if address and address != "local":
        try:
            ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConnectionError(
                f"no Ray cluster can be joined at {address} ({str(error).splitlines()[0]}). Is it running (ray "
                "status), and if it asks for a token, is RAY_AUTH_MODE=token set here?"
            ) from None
        return
    ray.init(
        address="local",
        num_cpus=max(num_cpus or os.cpu_count() or 1, LEAST_LOGICAL_CPUS),
        object_store_memory=LOCAL_OBJECT_STORE_BYTES,
        include_dashboard=False,
        **quiet,
    )


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Connection to the cluster within the block. SIGTERM ends it as Ctrl-C does: both leave no process behind."""
    connect(address)
    try:
        with interrupt_on_sigterm():
            yield
    finally:
        ray.shutdown()


def silence_ray() -> dict[str, Any]:
    """Keep Ray from printing its own messages; returns options of `ray.init`.

    Errors of tasks are raised here all the same, and everything is in the logs of Ray's session.
    """
    set_defaults(RAY)
    logging.getLogger("ray").setLevel(logging.ERROR)
    return {"logging_level": logging.ERROR, "log_to_driver": False}


def worker_environment() -> dict[str, Any]:
    """Part of a Ray `runtime_env` with the variables by which workers find weights and downloads on their machine."""
    return {"env_vars": {name: os.environ[name] for name in FORWARDED if name in os.environ}}


def check_resources(count: int, each: Mapping[str, float], accelerator_type: str | None = None) -> None:
    """Raises ValueError when there is no room for `count` workers with the resources `each`: Ray would wait."""
    found = num_slots(each, accelerator_type)
    if found >= count:
        return
    nodes = _machines(accelerator_type)
    wanted = {name: amount for name, amount in each.items() if amount}
    has = ", ".join(f"{sum(node.get(name, 0) for node in nodes):g} {name}s" for name in wanted)
    needs = " and ".join(f"{amount:g} {name}s" for name, amount in wanted.items())
    kind = f" with {accelerator_type}" if accelerator_type else ""
    raise ValueError(
        f"the cluster has room for {found} of {count} workers: one needs {needs}, the {len(nodes)} machines{kind} have "
        f"{has}. Set training.workers, cpus_per_worker, gpus_per_worker or accelerator_type to what there is, or start "
        "more machines first"
    )


def num_slots(each: Mapping[str, float], accelerator_type: str | None = None) -> int:
    """Number of workers, with the resources `each`, for which there is room when nothing else runs."""
    wanted = {name: amount for name, amount in each.items() if amount}
    nodes = _machines(accelerator_type)
    return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in nodes)


def _machines(accelerator_type: str | None) -> list[Mapping[str, float]]:
    """The resources of each machine that may be used."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [node for node in nodes if f"accelerator_type:{accelerator_type}" in node] if accelerator_type else nodes


@dataclass(frozen=True)
class Outcome:
    """Outcome of the job with this index: its value, or the error that it raised or by which it was lost."""

    index: int
    value: Any = None
    error: Exception | None = None


def map_tasks(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], training: TrainingConfig
) -> Iterator[Outcome]:
    """Call `function(*job)` for each job in a task of its own; outcomes as they come.

    As many run at once as there are training workers, so that they fit where training fits. When a job's process is
    lost, the job is tried again, `training.most_failures` times in all. Ray must be connected. Raises ValueError when
    there is no room for a single one.
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
