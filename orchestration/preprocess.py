"""Preprocessing at scale: `hia preprocess` with its videos spread over a Ray cluster by Ray Data.

Each worker is an actor that holds the networks and takes one video at a time. What a worker has finished is in the
store's journal, not in Ray: any process may be killed, and the next run, or Ray's restart of an actor, goes on there.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from tqdm import tqdm

from hia.commands.preprocess import add_arguments, check_arguments, summary
from hia.config import load_config
from hia.data.preprocess.build_store import Built, build_store, check_device
from hia.data.preprocess.person import keypoint_origin
from hia.data.preprocess.video_preprocessor import Job, PreprocessorFactory
from hia.data.store.records import Outcome, from_json, to_json
from orchestration.cluster import connected, worker_environment

# File systems that exist within one process only.
UNSHARED = ("memory://",)


@dataclass(frozen=True)
class RayRunner:
    """A `hia.data.preprocess.build_store.Runner` on Ray Data.

    workers: actors, None for as many as the cluster has room for; cpus, gpus: of each.
    """

    workers: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __call__(self, worker: PreprocessorFactory, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield outcomes as they come.

        Raises ValueError when no worker fits into the cluster, or one cannot start: weights that are missing on its
        machine, a device that it lacks; RayError when the cluster is lost.
        """
        if worker.store.startswith(UNSHARED):
            raise ValueError(f"{worker.store}: workers are processes of their own, and cannot write there")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # One video, one block: a lost actor, which Ray Data starts again, costs the video it was at.
        indices = ray.data.from_items([{"job": index} for index in range(len(jobs))], override_num_blocks=len(jobs))
        outcomes = indices.map(
            VideoActor,  # type: ignore[arg-type]
            fn_constructor_args=(worker, tuple(jobs), os.getcwd()),
            compute=ray.data.ActorPoolStrategy(size=self._size(len(jobs)), max_tasks_in_flight_per_actor=1),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            runtime_env=worker_environment(),
        )
        for row in outcomes.iter_rows():
            if row["trouble"]:
                raise ValueError(f"a worker cannot start on machine {row['machine']}: {row['trouble']}")
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
    """Ray actor that holds one `VideoPreprocessor`.

    folder: where relative paths in the settings start; machines without it keep their own.
    """

    def __init__(self, worker: PreprocessorFactory, jobs: Sequence[Job], folder: str) -> None:
        import cv2
        import torch

        threads = worker.threads or 1
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._jobs, self._trouble = jobs, ""
        # Ray starts an actor that raises here again and again; reported in its first answer, the error ends the run.
        try:
            check_device(worker.device)
            self._preprocess = worker.create()
            if any(keypoint_origin(job.source, worker.config.preprocess) == "estimate" for job in jobs):
                _ = self._preprocess.estimator  # loaded now: networks that are missing here are no video's fault
        except Exception as error:
            self._trouble = str(error) or repr(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._trouble:
            return {"outcome": "", "trouble": self._trouble, "machine": os.uname().nodename}
        return {"outcome": to_json(self._preprocess(self._jobs[row["job"]])), "trouble": "", "machine": ""}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0; 2 for input that cannot be used, 130 interrupted, 1 for our mistakes and Ray's."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.preprocess", description=__doc__)
    add_arguments(parser)
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument("--workers", type=int, metavar="N", help="at a time (as many as the cluster has room for)")
    cluster.add_argument("--cpus-per-worker", type=float, default=1, metavar="N", help="(%(default)s)")
    cluster.add_argument("--gpus-per-worker", type=float, default=0, metavar="N", help="may be a share (%(default)s)")
    cluster.add_argument("--address", help="of the Ray cluster; else $RAY_ADDRESS, else one is started here")
    cluster.add_argument("--traceback", action="store_true", help="show where in the program an error arose")
    parsed = parser.parse_args(arguments)
    try:
        built = run(parsed)
    except (ValueError, OSError, RayError) as error:
        if parsed.traceback:
            raise
        print(f"preprocess: {error}", file=sys.stderr)
        return 1 if isinstance(error, RayError) else 2
    except KeyboardInterrupt:
        print("preprocess: interrupted; run it again to go on", file=sys.stderr)
        return 130
    tqdm.write(summary(built))
    return 0


def run(arguments: argparse.Namespace) -> Built:
    """Preprocess on the cluster. Raises ValueError, MissingWeights, OSError or RayError with a message for the user."""
    check_arguments(arguments)
    for name, least in {"workers": 1, "cpus_per_worker": 0, "gpus_per_worker": 0}.items():
        if (value := getattr(arguments, name)) is not None and not value >= least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, not {value:g}")
    if arguments.device.startswith("cuda") and not arguments.gpus_per_worker:
        raise ValueError(f"--device {arguments.device} needs --gpus-per-worker: workers see no more GPUs than they get")
    config = load_config(arguments.preset, arguments.set)
    with connected(arguments.address):
        return build_store(
            arguments.videos,
            arguments.output,
            config,
            RayRunner(arguments.workers, arguments.cpus_per_worker, arguments.gpus_per_worker),
            device=arguments.device,
            threads=arguments.threads or max(1, int(arguments.cpus_per_worker)),
            progress=not arguments.quiet,
        )


if __name__ == "__main__":
    sys.exit(main())
