"""Joining or starting a Ray cluster."""

import os
from typing import Any

import ray

# Ray starts with too few logical CPUs to run actors and the tasks around them on a small machine: it waits for ever.
LEAST_LOGICAL_CPUS = 4
LOCAL_OBJECT_STORE_BYTES = 200_000_000


def connect(address: str | None = None, num_cpus: int | None = None) -> None:
    """Join the cluster at `address`, the one this job was submitted to, or start one on this machine.

    num_cpus: logical CPUs of a cluster started here, by default the machine's cores, but 4 at least.
    """
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        ray.init(address=address, log_to_driver=True)
        return
    options: dict[str, Any] = {"num_cpus": max(num_cpus or os.cpu_count() or 1, LEAST_LOGICAL_CPUS)}
    ray.init(
        address="local",
        object_store_memory=LOCAL_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        **options,
    )
