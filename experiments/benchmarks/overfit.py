"""Benchmark of learning: all stages on one or two real clips, judged by frames that were kept out of training.

    python -m experiments.benchmarks.overfit talk.mp4 dance.mp4 --output overfit
    python -m experiments.benchmarks.overfit talk.mp4 --pair sharp.mp4 blurred.mp4 keypoints.npz --output overfit
    python -m experiments.benchmarks.overfit talk.mp4 --output overfit --preset gpu

Kept out are every tenth frame and the last fifth of each clip; the reference is frame 0. With `--pair`, two videos in
which only the blur differs, a second model learns their hands, and its sharpness knob is turned. It ends with 1 when
the last stage's animation is not at least 3 dB better than the reference repeated, or the hands do not follow the knob.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from experiments.benchmarks.overfit_figures import Knob, Learned
from experiments.benchmarks.overfit_training import learn_clips, learn_knob
from hia.config import load_config
from hia.io.files import write_json

PRESETS = {name: Path(__file__).with_name(f"overfit_{name}.yaml") for name in ("cpu", "gpu")}
LEAST_GAIN = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, judge, write figures and pictures; 0 when everything has been learned."""
    options = parse(arguments)
    config = load_config(PRESETS.get(options.preset, options.preset), options.set)
    torch.set_num_threads(options.threads or config.training.cpus_per_worker)
    folder, clock = new_folder(options.output), Clock()
    stages = learn_clips(options.videos, folder, config, clock.measure)
    knob = None
    if options.pair:
        sharp, blurred, keypoints = map(Path, options.pair)
        knob = learn_knob((sharp, blurred), keypoints, folder, config, clock.measure)
    *_, final = stages.values()
    failures = shortcomings(final, knob)
    figures = {
        "preset": options.preset,
        "set": options.set,
        "threads": torch.get_num_threads(),
        "stages": {name: [asdict(one) | {"gain": one.gain} for one in clips] for name, clips in stages.items()},
        "knob": asdict(knob) if knob else None,
        "seconds": clock.seconds,
        "shortcomings": failures,
    }
    write_json(folder / "figures.json", figures)
    minutes = sum(spent["wall"] for spent in clock.seconds.values()) / 60
    print(
        f"{'; '.join(failures) or 'everything has been learned'}; {minutes:.1f} minutes; figures and pictures: {folder}"
    )
    return 1 if failures else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.overfit", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("videos", nargs="+", help="one or two clips, their keypoint files as for hia preprocess")
    parser.add_argument(
        "--pair", nargs=3, metavar=("SHARP", "BLURRED", "KEYPOINTS"), help="two videos that only blur tells apart"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="new folder for stores, weights and results")
    parser.add_argument("--preset", default="cpu", help="cpu, gpu, or a .yaml file (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the preset")
    parser.add_argument("--threads", type=int, help="of torch (default: the preset's training.cpus_per_worker)")
    return parser.parse_args(arguments)


def new_folder(name: str) -> Path:
    """Create the output folder. Raises ValueError when there is something in it."""
    folder = Path(name).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"--output {folder} is not empty: choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shortcomings(final: Sequence[Learned], knob: Knob | None) -> list[str]:
    """Describe what has not been learned; empty when everything was."""
    found = [
        f"{one.video}: {one.gain:.2f} dB above the reference repeated, less than {LEAST_GAIN:g}"
        for one in final
        if one.gain < LEAST_GAIN
    ]
    if knob is not None and knob.correlation <= 0:
        found.append(f"hands do not follow the knob (rank correlation {knob.correlation:.2f})")
    return found


class Clock:
    """Seconds by purpose, of the wall clock and of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Time a block, and say that it has begun."""
        print(f"{what} …", flush=True)
        wall, processor = time.monotonic(), time.process_time()
        yield
        spent = {"wall": time.monotonic() - wall, "processor": time.process_time() - processor}
        self.seconds[what] = {name: round(value, 1) for name, value in spent.items()}


if __name__ == "__main__":
    sys.exit(main())
