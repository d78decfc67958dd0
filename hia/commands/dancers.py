"""Generate videos of synthetic dancers with exact keypoint files beside them: data for a first try."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where videos and keypoints go")
    parser.add_argument("--count", type=int, default=12, help="number of dancers (default 12)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each video (default 3)")
    parser.add_argument("--width", type=int, default=256, help="in pixels, even (default 256)")
    parser.add_argument("--height", type=int, default=448, help="in pixels, even (default 448)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames per second (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same dancers (default 0)")
    parser.add_argument(
        "--shutter", type=float, default=0.6, metavar="0..1", help="exposed share of a frame's time (default 0.6)"
    )
    parser.add_argument("--workers", type=int, help="threads (default: one per processor)")


def run(arguments: argparse.Namespace) -> None:
    """Write the dancers that are missing in the folder. Raises ValueError or OSError with a message for the user."""
    folder = Path(arguments.output).expanduser()
    if not arguments.output.strip() or "://" in arguments.output:
        raise ValueError(f"--output must be a folder on this machine, not {arguments.output!r}")
    if folder.is_file():
        raise ValueError(f"--output {folder} is a file: dancers need a folder")

    from hia.synthetic import write_dancers

    videos = write_dancers(
        folder,
        arguments.count,
        seconds=arguments.seconds,
        width=arguments.width,
        height=arguments.height,
        fps=arguments.fps,
        seed=arguments.seed,
        shutter=arguments.shutter,
        workers=arguments.workers,
        progress=sys.stderr.isatty(),
    )
    size = f"{arguments.width}×{arguments.height}"
    print(f"{folder}: {len(videos)} dancer{'s' * (len(videos) > 1)} of {size}, {arguments.seconds:g} s")
