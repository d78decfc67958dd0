"""Opening video files and decoding their frames, with an error of its own kind for each way to fail."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from hia.images import Frame
from hia.video.conversion import MAX_SIDE, Converter
from hia.video.errors import MissingVideo, UnreachableVideo, VideoError
from hia.video.timing import Clock

# Containers of moving pictures. Playlists (HLS, DASH, concat) are not among them: they would make FFmpeg open the
# files and URLs in them.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,flv,asf,ogg,mpeg,mpegts,mxf,nut,ivf,h264,hevc"
# No larger frame is ever allocated, not even while the streams are probed.
LIMITS = {"max_pixels": str(MAX_SIDE**2)}

# FFmpeg's own decoders of these leave transparency out.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# Frames per second of a file that states no rate.
FALLBACK_FPS = 25.0

# A file is cut off if it ends before this share of the length that its header states, and by so many seconds at least.
LEAST_SHARE, LEAST_SECONDS_MISSING = 0.9, 0.5


@dataclass(frozen=True)
class DecodedPicture:
    """A decoded frame, converted to RGB on demand only, which takes as long as decoding."""

    time: float
    frame: Any
    converter: Converter

    def image(self) -> Frame:
        """RGB uint8 [H, W, 3], upright."""
        return self.converter.image(self.frame)

    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        return self.converter.size(self.frame)


def decode_file(path: Path) -> Iterator[DecodedPicture]:
    """All frames of a file in the order of their display. Raises VideoError."""
    with open_video(path) as container:
        yield from decode_container(container, path)


def decode_container(container: Any, path: Path, limits: Mapping[str, str] = LIMITS) -> Iterator[DecodedPicture]:
    """All frames of an open container, see `decode_file`. path: for messages. limits: FFmpeg's decoder options."""
    stream = video_stream(container, path)
    converter = Converter(stream.sample_aspect_ratio)
    _check_size(converter, stream.codec_context, path)
    clock, size, end = Clock(1 / (stated_rate(stream) or FALLBACK_FPS)), None, 0.0
    for number, frame in enumerate(_frames(container, stream, path, limits)):
        size = size or (frame.width, frame.height)
        _check_frame(converter, frame, number, size, path)
        time = clock.time(frame.time)
        end = time + float((frame.duration or 0) * (frame.time_base or 0))
        yield DecodedPicture(time, frame, converter)
    if size is None:
        raise VideoError("no_frames", f"{path}: the video has no frame that decodes")
    _check_end(end, _stated_seconds(container, stream), path)


def open_video(path: Path) -> Any:
    """Open the container of a video file. Raises MissingVideo, UnreachableVideo or VideoError."""
    if not path.is_file():
        raise MissingVideo("missing", f"no such video: {path}" + (" (it is no regular file)" if path.exists() else ""))
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise VideoError("empty", f"{path}: the file is empty")
    except OSError as error:
        raise UnreachableVideo("unreadable", f"{path}: cannot be opened ({error.strerror})") from None
    try:
        # The prefix keeps names such as `concat:a.mp4` from being taken for FFmpeg's protocols.
        name = f"file:{os.path.abspath(path)}"
        return av.open(name, metadata_errors="replace", options={"format_whitelist": FORMATS} | LIMITS)
    except (av.FFmpegError, ValueError, OSError) as error:
        text = getattr(error, "strerror", None) or error
        raise VideoError("unreadable", f"{path}: not a readable video ({text})") from None


def video_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures, which cover pictures of songs are not. Raises VideoError."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise VideoError("no_video", f"{path}: there is no video in it")


def stated_rate(stream: Any) -> float:
    """Frames per second by the header; 0 when it states none."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def _frames(container: Any, stream: Any, path: Path, limits: Mapping[str, str]) -> Iterator[Any]:
    try:
        decoder = _decoder(stream, dict(limits))
        for packet in container.demux(stream):
            yield from decoder.decode(packet)
    except av.FFmpegError as error:
        raise VideoError("decoding_failed", f"{path}: decoding failed ({error.strerror})") from None


def _decoder(stream: Any, limits: dict[str, str]) -> Any:
    default = stream.codec_context
    default.options = limits
    with_alpha = ALPHA_DECODERS.get(default.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if with_alpha is None or tags.get("alpha_mode") != "1":
        return default
    decoder = av.CodecContext.create(with_alpha, "r")
    decoder.extradata, decoder.options = default.extradata, limits
    return decoder


def _check_size(converter: Converter, picture: Any, path: Path) -> None:
    if min(picture.width, picture.height) < 1:
        raise VideoError("size", f"{path}: the video has no size, or one beyond {MAX_SIDE}×{MAX_SIDE} px")
    if max(*converter.stretched(picture.width, picture.height), picture.width, picture.height) > MAX_SIDE:
        raise VideoError(
            "size", f"{path}: {picture.width}×{picture.height} px, sides are at most {MAX_SIDE} px with square pixels"
        )


def _check_frame(converter: Converter, frame: Any, number: int, size: tuple[int, int], path: Path) -> None:
    _check_size(converter, frame, path)
    if frame.is_corrupt:
        raise VideoError("decoding_failed", f"{path}: frame {number} is damaged")
    if (frame.width, frame.height) != size:
        raise VideoError(
            "decoding_failed",
            f"{path}: frame {number} is {frame.width}×{frame.height} px, unlike {size[0]}×{size[1]} px before it",
        )


def _check_end(end: float, stated: float | None, path: Path) -> None:
    if stated is not None and end < LEAST_SHARE * stated and stated - end > LEAST_SECONDS_MISSING:
        raise VideoError(
            "decoding_failed", f"{path}: ends at {end:.2f} s, its header says {stated:.2f} s: the file is cut off"
        )


def _stated_seconds(container: Any, stream: Any) -> float | None:
    """Length of the stream by its header, in formats whose decoding ends without an error at a cut."""
    if container.format.name.startswith("matroska"):
        parts = stream.metadata.get("DURATION", "").split(":")
        try:
            return sum(float(part) * 60**power for power, part in enumerate(reversed(parts)))
        except ValueError:
            return None
    if container.format.name == "avi" and stream.duration:
        return float(stream.duration * stream.time_base)
    return None
