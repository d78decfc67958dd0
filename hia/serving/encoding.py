"""Frames to the bytes of a file."""

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
# Browsers show GIFs with shorter pauses slowly.
LEAST_GIF_PAUSE = 20
GENERATED = "AI-generated video, made with hia"
# IPTC's word for media made by a trained model, which platforms look for.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PICTURES = (".webp", ".gif")


def encode_video(frames: Sequence[Frame], fps: float, kind: str, statement: str) -> bytes:
    """RGB uint8 [H, W, 3] frames as the bytes of an mp4 (H.264), or of an endless WebP or GIF.

    statement: of its origin, see `hia.serving.encoding`; written into the container.

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


def statement(version: str, seed: int) -> str:
    """One line for people and programs."""
    return f"{GENERATED}; model {version}; seed {seed}"


def xmp(text: str) -> bytes:
    """The statement as XMP, for WebP."""
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
        found = _of_picture(file) if file.suffix.lower() in PICTURES else _of_video(file)
    except (OSError, av.FFmpegError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from None
    return found if found.startswith(GENERATED) else None


def _of_video(file: Path) -> str:
    with av.open(f"file:{file.absolute()}", metadata_errors="replace") as container:
        return container.metadata.get("comment", "")


def _of_picture(file: Path) -> str:
    with Image.open(file, formats=("WEBP", "GIF")) as image:
        comment, packet = image.info.get("comment", b""), image.info.get("xmp", b"")
    text = packet.decode("utf-8", "replace").partition("<dc:description>")[2].partition("</dc:description>")[0]
    return unescape(text) or comment.decode("utf-8", "replace")
