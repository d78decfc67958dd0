"""Frames of a finished file, few enough to look each of them over."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from hia.images import Frame
from hia.serving.provenance import PICTURES
from hia.video import read_frames


def spread_frames(file: Path, most: int) -> Iterator[Frame]:
    """At most so many frames of a video, WebP or GIF, RGB uint8 [H, W, 3], evenly spread from the first one on.

    The file is read twice, so that one frame at a time is held. Raises ValueError or OSError when it cannot be read.
    """
    count = sum(1 for _ in _frames(file))
    yield from islice(_frames(file), 0, None, max(1, -(-count // most)))


def _frames(file: Path) -> Iterator[Frame]:
    return _frames_of_picture(file) if file.suffix.lower() in PICTURES else read_frames(file)


def _frames_of_picture(file: Path) -> Iterator[Frame]:
    with Image.open(file, formats=("WEBP", "GIF")) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGB"))
