"""What a file says of its origin: that it was generated, by which model. In the container, where players show it."""

from pathlib import Path
from xml.sax.saxutils import escape, unescape

import av
from PIL import Image

GENERATED = "AI-generated video, made with hia"
# IPTC's word for media made by a trained model, which platforms look for.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PICTURES = (".webp", ".gif")


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
