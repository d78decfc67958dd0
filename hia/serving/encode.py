"""Frames to the bytes of a file."""

import io
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hia.images import Frame
from hia.serving.provenance import xmp
from hia.video import write_video

# Of WebP, in 0..100; method: 0 is fastest, 6 smallest.
WEBP_QUALITY, WEBP_METHOD = 85, 2
# Browsers show GIFs with shorter pauses slowly.
LEAST_GIF_PAUSE = 20


def encode(frames: Sequence[Frame], fps: float, kind: str, statement: str) -> bytes:
    """RGB uint8 [H, W, 3] frames as the bytes of an mp4 (H.264), or of an endless WebP or GIF.

    statement: of its origin, see `hia.serving.provenance`; written into the container.

    The same frames give the same bytes. A temporary folder, removed, is all that is written to.
    """
    if kind == "mp4":
        with tempfile.TemporaryDirectory(prefix="hia-") as folder:
            file = Path(folder) / "video.mp4"
            write_video(file, frames, fps, {"comment": statement})
            return file.read_bytes()
    first, *others = [Image.fromarray(frame) for frame in frames]
    pauses = _pauses(len(frames), fps, 10 if kind == "gif" else 1)
    options: dict[str, Any] = {"comment": statement.encode()}
    if kind == "webp":
        options = {"quality": WEBP_QUALITY, "method": WEBP_METHOD, "xmp": xmp(statement)}
    file_in_memory = io.BytesIO()
    first.save(file_in_memory, kind.upper(), save_all=True, append_images=others, duration=pauses, loop=0, **options)
    return file_in_memory.getvalue()


def _pauses(count: int, fps: float, unit: int) -> list[int]:
    """Milliseconds that each frame is shown, in whole units whose rounding does not add up."""
    ends = [round(1000 * number / fps / unit) * unit for number in range(count + 1)]
    least = LEAST_GIF_PAUSE if unit > 1 else unit
    return [max(least, end - start) for start, end in itertools.pairwise(ends)]
