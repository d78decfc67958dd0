"""Encoding of results, with a statement of their origin in the container: that they were generated, by which model."""

import io
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

import av
from PIL import Image

from hia.images import Frame
from hia.video import write_video

# Of WebP, in 0..100; method: 0 is fastest, 6 smallest.
WEBP_QUALITY, WEBP_METHOD = 85, 2
# In ms. Browsers slow GIFs with shorter pauses down.
MIN_GIF_PAUSE = 20
GENERATED = "AI-generated video, made with hia"
# IPTC's term for media made by a trained model, which platforms look for.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PICTURES = (".webp", ".gif")


def encode_video(frames: Sequence[Frame], fps: float, kind: str, statement: str) -> bytes:
    """Encode RGB uint8 [H, W, 3] frames as an mp4 (H.264), or an endless WebP or GIF.

    statement: see the function `statement`; written into the container, where players show it. The same frames give
    the same bytes. A temporary folder, removed afterwards, is all that is written to.
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
    """The duration of each frame, ms, in whole units whose rounding errors do not add up."""
    ends = [round(1000 * number / fps / unit) * unit for number in range(count + 1)]
    least = MIN_GIF_PAUSE if unit > 1 else unit
    return [max(least, end - start) for start, end in itertools.pairwise(ends)]


def statement(version: str, seed: int) -> str:
    """The statement of origin of a result, in one line that people and programs can read."""
    return f"{GENERATED}; model {version}; seed {seed}"


def xmp(text: str) -> bytes:
    """A statement as XMP, for WebP."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<dc:description>{escape(text)}</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def read_statement(file: Path) -> str | None:
    """The statement in an mp4, WebP or GIF; None when there is none. Raises ValueError for an unreadable file."""
    try:
        text = _picture_comment(file) if file.suffix.lower() in PICTURES else _video_comment(file)
    except (OSError, av.FFmpegError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from None
    return text if text.startswith(GENERATED) else None


def _video_comment(file: Path) -> str:
    with av.open(f"file:{file.absolute()}", metadata_errors="replace") as container:
        return container.metadata.get("comment", "")


def _picture_comment(file: Path) -> str:
    with Image.open(file, formats=("WEBP", "GIF")) as image:
        comment, packet = image.info.get("comment", b""), image.info.get("xmp", b"")
    text = packet.decode("utf-8", "replace").partition("<dc:description>")[2].partition("</dc:description>")[0]
    return unescape(text) or comment.decode("utf-8", "replace")
