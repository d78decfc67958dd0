"""Benchmark of the evaluation on Ray: clips per minute with one worker and with several.

    python experiments/benchmarks/evaluation.py [--clips 8] [--workers 2] [--metrics psnr ssim lpips_alex fvd]

Generated dancers are animated by the quickstart's starting weights and measured, one Ray task of one core per clip, as
the chain's stage does it. A worker's start (imports, networks) is left out: each has evaluated a clip before. The clips
are the same in both, and so must be what is measured.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import ray

from hia.config import Config, load_config
from hia.data.preprocess.build_store import build_store
from hia.data.store.clip_store import open_store
from hia.data.store.records import ClipInfo
from hia.evaluation.protocol.results import gather
from hia.synthetic import write_dancers
from orchestration.cluster import map_tasks
from orchestration.stages.evaluate import ClipResult, Evaluation, evaluate_clip, flat_metrics

NEEDED_RATIO = 1.6
CHANGES = (
    *("preprocess={latents: false, hands_seen: 0.0}", "evaluation.default_sharpness=false"),
    "training.cpus_per_worker=1",
)


def main() -> None:
    """Measure both ways and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=16, help="of each clip (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="in the second run (%(default)s)")
    parser.add_argument("--metrics", nargs="+", help="by name (default: those whose weights are found)")
    arguments = parser.parse_args()
    config = load_config("quickstart", [*CHANGES, f"training.evaluation_frames={arguments.frames}"])
    if arguments.metrics:
        config = replace(config, evaluation=replace(config.evaluation, metrics=tuple(arguments.metrics)))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_dancers(
            folder / "videos", arguments.clips + arguments.workers, seconds=2.0, width=128, height=224, seed=3
        )
        build_store([str(folder / "videos")], str(folder / "store"), config)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        benchmark(config, folder, arguments)


def benchmark(config: Config, folder: Path, arguments: argparse.Namespace) -> None:
    """Measure with one worker, then with several, each time on a Ray of its own."""
    store = open_store(folder / "store")
    clips = [info for info in store.clips if info.split == "train"]
    rates, figures = [], []
    for workers in (1, arguments.workers):
        seconds, found = measure(config, folder, clips, arguments.clips, workers)
        rates.append(60 * arguments.clips / seconds)
        figures.append(found)
        print(f"{workers} worker{'s' * (workers > 1)}: {rates[-1]:.2f} clips a minute", flush=True)
    print(f"ratio {rates[1] / rates[0]:.2f} (needed {NEEDED_RATIO} for 2)")
    if figures[0] != figures[1]:
        raise SystemExit("the two runs have measured different figures")


def measure(
    config: Config, folder: Path, clips: Sequence[ClipInfo], count: int, workers: int
) -> tuple[float, dict[str, float]]:
    """Seconds for `count` clips after each worker has had one, and all figures."""
    training = replace(config.training, workers=workers)
    job = Evaluation(
        config=replace(config, training=training),
        weights=(),
        store=str(folder / "store"),
        split="train",  # only training clips give the percentiles of sharpness that the model needs
        folder=str(folder / f"evaluation_{workers}"),
        fingerprint="benchmark",
    )
    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        list(map_tasks(evaluate_clip, [(job, clip) for clip in clips[:workers]], training))
        began = time.perf_counter()
        outcomes = list(map_tasks(evaluate_clip, [(job, clip) for clip in clips[-count:]], training))
        seconds = time.perf_counter() - began
    finally:
        ray.shutdown()
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    done: list[ClipResult] = [outcome.value for outcome in sorted(outcomes, key=lambda one: one.index)]
    return seconds, flat_metrics(gather(Path(job.folder), [one.files for one in done], [], done[0].measured, {}))


if __name__ == "__main__":
    main()
