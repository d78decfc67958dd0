"""Writing videos; a file appears under its final name complete or not at all."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from hia.images import Frame
from hia.io.files import atomic_write


class VideoWriter:
    """Writes an mp4 (H.264, yuv420p, BT.709) under a temporary name and renames it once it is complete.

    Use it as a context manager: leaving it by an exception removes the temporary file and keeps any older video.
    metadata: of the container, such as `comment`. Raises FileNotFoundError at once for a folder that does not exist,
    ValueError for odd or changing sizes.
    """

    def __init__(self, path: str | Path, fps: float, crf: int = 18, metadata: Mapping[str, str] | None = None) -> None:
        self.path, self.metadata = Path(path), dict(metadata or {})
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
        if "\0" in str(path) or self.path.is_dir():
            raise ValueError(f"{self.path} is no name for a file, or a folder")
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path}: the output must end in .mp4")
        self.rate = Fraction(fps).limit_denominator(1001)
        if self.rate <= 0:
            raise ValueError(f"{self.path}: fps must be above 0, not {fps}")
        self.crf = crf
        self._files = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._num_frames = 0

    def check_size(self, width: int, height: int) -> None:
        """Raise ValueError for a size that H.264 in yuv420p cannot have."""
        if width % 2 or height % 2:
            raise ValueError(f"{self.path}: H.264 in yuv420p needs even sides, not {width}×{height}")

    def __enter__(self) -> "VideoWriter":
        try:
            with ExitStack() as files:
                aside = files.enter_context(atomic_write(self.path))
                # PyAV would make it at the first frame: find out before the work if the folder cannot be written to.
                aside.touch(exist_ok=False)
                self._container = av.open(str(aside), "w", format="mp4", options={"movflags": "faststart"})
                files.push(self._close)
                self._files = files.pop_all()
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written ({error.strerror})") from None
        self._container.metadata.update(self.metadata)
        return self

    def write(self, frame: Frame) -> None:
        """Append one frame, RGB uint8 [H, W, 3] of even sides."""
        height, width = frame.shape[:2]
        if self._stream is None:
            self._stream = self._open_stream(width, height)
        if (width, height) != (self._stream.width, self._stream.height):
            raise ValueError(f"{self.path}: frame {self._num_frames} is {width}×{height}, unlike those before it")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts = self._num_frames
        self._container.mux(self._stream.encode(picture))
        self._num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish the video unless writing it has failed, and close it."""
        if kind is None:
            if self._stream is None:
                raise ValueError(f"{self.path}: no frame was written")
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _open_stream(self, width: int, height: int) -> Any:
        self.check_size(width, height)
        stream = self._container.add_stream("libx264", rate=self.rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = 1 / self.rate
        # x264's macroblock tree reads memory that it has not written at some small sizes: without it, the same frames
        # always give the same bytes.
        stream.options = {"crf": str(self.crf), "preset": "medium", "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        return stream


def write_video(
    path: str | Path, frames: Iterable[Frame], fps: float, metadata: Mapping[str, str] | None = None
) -> None:
    """Write all frames to an mp4, see `VideoWriter`."""
    with VideoWriter(path, fps, metadata=metadata) as writer:
        for frame in frames:
            writer.write(frame)
