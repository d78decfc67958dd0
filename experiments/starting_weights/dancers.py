"""The generated dancers from which the starting weights are made: their settings, seeds and frames."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hia.images import Frame
from hia.synthetic import write_dancers
from hia.video import read_frames

WIDTH, HEIGHT = 128, 224
FPS = 12
# The exposure of 30 frames per second with the usual shutter: 0.02 s.
SHUTTER = 0.24
SECONDS = 2.5
# Seed and number of dancers of each set. The quickstart and the tests use seeds below 100.
CODEC, ANIMATOR, HELD_OUT = (1001, 64), (1002, 128), (1003, 8)


def render(folder: Path, dancers: tuple[int, int], workers: int = 1) -> list[Path]:
    """The videos of a set, with keypoints beside them, in a subfolder named after its seed; done ones are kept."""
    seed, count = dancers
    return write_dancers(
        folder / str(seed),
        count,
        seconds=SECONDS,
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        seed=seed,
        shutter=SHUTTER,
        workers=workers,
        progress=True,
    )


def read(videos: Iterable[Path]) -> Frame:
    """All frames of the videos, uint8 [N, H, W, 3]."""
    return np.stack([frame for video in videos for frame in read_frames(video)])
