"""Decoding of untrusted mp4 and webm uploads, in memory and within limits."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from hia.images import Frame
from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.video import VideoError
from hia.video.decode import FALLBACK_FPS, DecodedPicture, decode_container, stated_rate, video_stream

# FFmpeg's demuxers by the kind of container, which a file's first bytes show. These demuxers open no other files.
CONTAINERS = {"mp4": "mov,mp4,m4a,3gp,3g2,mj2", "webm": "matroska,webm"}
CODECS = ("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d")
# Matroska's first bytes, among which the document type `webm` must stand.
EBML, DOCTYPE_WITHIN = b"\x1a\x45\xdf\xa3", 64
# Frames per second.
RATES = (1.0, 240.0)


@dataclass(frozen=True, eq=False)
class ClipInMemory:
    """A video in memory. Iteration decodes it anew, RGB uint8 [H, W, 3], and raises RequestError at damaged frames.

    container: mp4 or webm; times: of the frames, s from the first; width, height: upright, px; fps: as the file states.
    """

    data: bytes
    container: str
    name: str
    width: int
    height: int
    fps: float
    times: tuple[float, ...]
    limits: Limits

    def __iter__(self) -> Iterator[Frame]:
        for picture in _pictures(self.data, self.container, self.name, self.limits):
            yield picture.image()


def open_clip(data: bytes, name: str, limits: Limits) -> ClipInMemory:
    """Decode a video once, to check it, keeping only its size and times. Raises RequestError."""
    container = _container(data, name)
    size, times = (0, 0), []
    for picture in _pictures(data, container, name, limits):
        size = picture.size()
        times.append(picture.time)
    return ClipInMemory(data, container, name, *size, _rate(data, container, name, times), tuple(times), limits)


def _rate(data: bytes, container: str, name: str, times: list[float]) -> float:
    with _open(data, container, {}) as opened:
        rate = stated_rate(video_stream(opened, Path(name))) or FALLBACK_FPS
    if not RATES[0] <= rate <= RATES[1]:
        raise RequestError(f"{name}: {rate:g} frames per second; {RATES[0]:g}..{RATES[1]:g} are taken")
    return rate


def _container(data: bytes, name: str) -> str:
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:4] == EBML and b"webm" in data[:DOCTYPE_WITHIN]:
        return "webm"
    raise RequestError(f"{name}: neither mp4 nor webm")


def _open(data: bytes, container: str, bounds: dict[str, str]) -> Any:
    allowed = {
        "format_whitelist": CONTAINERS[container],
        "codec_whitelist": ",".join(CODECS),
        "protocol_whitelist": "none",
    }
    return av.open(io.BytesIO(data), metadata_errors="replace", options=allowed | bounds)


def _pictures(data: bytes, container: str, name: str, limits: Limits) -> Iterator[DecodedPicture]:
    """The decoded frames. Raises RequestError when they exceed the limits."""
    bounds = {"max_pixels": str(limits.video_pixels)}
    try:
        with _open(data, container, bounds) as opened:
            stream = video_stream(opened, Path(name)).codec_context
            if stream.name not in CODECS:
                raise RequestError(f"{name}: its codec {stream.name} is not taken; H.264, HEVC, VP8, VP9 and AV1 are")
            if stream.width * stream.height > limits.video_pixels:
                raise RequestError(f"{name}: {stream.width}×{stream.height} px, more than {limits.video_pixels:,}")
            for number, picture in enumerate(decode_container(opened, Path(name), bounds)):
                if number >= limits.frames or picture.time > limits.driving_seconds:
                    raise RequestError(f"{name}: longer than {limits.frames} frames or {limits.driving_seconds:g} s")
                if picture.size()[0] * picture.size()[1] > limits.video_pixels:
                    raise RequestError(f"{name}: {picture.size()[0]}×{picture.size()[1]} px with square pixels")
                yield picture
    except RequestError:
        raise
    except VideoError as error:
        raise RequestError(str(error)) from None
    except (av.FFmpegError, ValueError, OSError, OverflowError) as error:
        raise RequestError(f"{name}: not a readable video ({getattr(error, 'strerror', None) or error})") from None
