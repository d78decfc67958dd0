"""Videos small enough to be part of a page."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from hia.images import Frame
from hia.video import VideoWriter, probe, read_frames

# Videos up to this are embedded as they are; others are made smaller first.
SMALL = 300_000
HEIGHT, WIDTH, CRF = 360, 1280, 28


def small_video(path: Path) -> bytes:
    """An mp4's content, or that of a smaller version: at most 1280×360 px, more compressed."""
    if path.stat().st_size <= SMALL:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder) / "small.mp4"
        with VideoWriter(smaller, probe(path).fps, CRF) as writer:
            for frame in _shrunk(path):
                writer.write(frame)
        return min(smaller.read_bytes(), path.read_bytes(), key=len)


def data_uri(content: bytes, kind: str = "video/mp4") -> str:
    """Content as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _shrunk(path: Path) -> Iterator[Frame]:
    for frame in read_frames(path):
        height, width = frame.shape[:2]
        scale = min(1.0, HEIGHT / height, WIDTH / width)
        size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
        yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
