"""Check whether a video was made with hia: by the statement in its container, and the watermark in its frames."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a video, WebP or GIF")
    parser.add_argument("--frames", type=int, default=16, help="in which the watermark is looked for (default 16)")


def run(arguments: argparse.Namespace) -> None:
    """Print whether the file carries the statement of origin or the watermark.

    Raises ValueError or OSError with a message for the user.
    """
    from hia.serving.encoding import read_statement
    from hia.serving.watermark import ENOUGH, NUM_BITS, Watermark, evenly_spaced_frames

    file: Path = arguments.file
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    if arguments.frames < 1:
        raise ValueError(f"--frames must be at least 1, not {arguments.frames}")
    statement = read_statement(file)
    try:
        agreement = Watermark().agreement(evenly_spaced_frames(file, arguments.frames))
    except ImportError as error:
        raise ValueError(str(error)) from None
    found = agreement >= ENOUGH
    print(f"{file}: {'made with hia' if found or statement else 'no sign of hia'}")
    print(f"  container: {statement or 'says nothing'}")
    print(
        f"  watermark: {'found' if found else 'not found'} ({agreement} of {NUM_BITS} bits agree, {ENOUGH} are enough)"
    )
