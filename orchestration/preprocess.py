"""Preprocessing at scale: `hia preprocess` with its videos spread over a Ray cluster by Ray Data.

Each worker is an actor that holds the networks and takes one video at a time. What a worker has finished is in the
store's journal, not in Ray: any process may be killed, and the next run, or Ray's restart of an actor, goes on there.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from tqdm import tqdm

from hia.commands.preprocess import add_arguments, summary
from hia.config_files import load_config
from hia.data.building import build_store
from hia.data.preprocess import Job, Worker
from hia.data.records import Outcome, from_json, to_json
from orchestration.cluster import connect


@dataclass(frozen=True)
class RayRunner:
    """A `hia.data.building.Runner` on Ray Data.

    workers: actors, None for as many as the cluster has room for; cpus, gpus: of each.
    """

    workers: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __call__(self, worker: Worker, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Outcomes as they come. Raises RayError when the cluster is lost."""
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # One video, one block: a lost actor, which Ray Data starts again, costs the video it was at.
        indices = ray.data.from_items([{"job": index} for index in range(len(jobs))], override_num_blocks=len(jobs))
        outcomes = indices.map(
            VideoActor,  # type: ignore[arg-type]
            fn_constructor_args=(worker, tuple(jobs)),
            compute=ray.data.ActorPoolStrategy(size=self._size(len(jobs)), max_tasks_in_flight_per_actor=1),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        for row in outcomes.iter_rows():
            yield from_json(Outcome, row["outcome"], "a worker's answer")

    def _size(self, jobs: int) -> int:
        resources = ray.cluster_resources()
        room = [int(resources.get("CPU", 1) / self.cpus)] if self.cpus else []
        room += [int(resources.get("GPU", 0) / self.gpus)] if self.gpus else []
        if min(room, default=1) < 1:
            raise ValueError(
                f"no worker fits: one needs {self.cpus:g} CPUs and {self.gpus:g} GPUs, the cluster has "
                f"{resources.get('CPU', 0):g} and {resources.get('GPU', 0):g}"
            )
        return max(1, min(self.workers or min(room, default=1), jobs))


class VideoActor:
    """Holds one `VideoPreprocessor` in a process of its own."""

    def __init__(self, worker: Worker, jobs: Sequence[Job]) -> None:
        import cv2
        import torch

        threads = worker.threads or 1
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._jobs, self._preprocess = jobs, worker.start()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": to_json(self._preprocess(self._jobs[row["job"]]))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="actors (as many as the cluster has room for)")
    parser.add_argument("--cpus-per-worker", type=float, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument("--gpus-per-worker", type=float, default=0, metavar="N", help="may be a share (%(default)s)")
    parser.add_argument("--address", help="of the cluster; else $RAY_ADDRESS, else one is started here")
    parsed = parser.parse_args(arguments)
    try:
        config = load_config(parsed.preset, parsed.set)
        connect(parsed.address)
        runner = RayRunner(parsed.workers, parsed.cpus_per_worker, parsed.gpus_per_worker)
        built = build_store(
            parsed.videos,
            parsed.output,
            config,
            runner,
            device=parsed.device,
            threads=parsed.threads or max(1, int(parsed.cpus_per_worker)),
            progress=not parsed.quiet,
        )
    except (ValueError, OSError) as error:
        print(f"preprocess: {error}", file=sys.stderr)
        return 2
    tqdm.write(summary(built))
    return 0


if __name__ == "__main__":
    sys.exit(main())
