"""Reading of videos: files that FFmpeg decodes, folders of images, and temporary copies of remote ones."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hia.images import Frame
from hia.io.paths import fetch, is_url
from hia.video.decode import decode_file, open_video, stated_rate, video_stream
from hia.video.errors import MissingVideo, UnreachableVideo, VideoError
from hia.video.image_folder import DEFAULT_FPS, decode_folder


class Picture(Protocol):
    """A decoded frame, not yet converted to RGB."""

    @property
    def time(self) -> float: ...

    def image(self) -> Frame: ...

    def size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class VideoInfo:
    """Size in (upright, square) pixels, frames per second, and the number of frames that really decode."""

    width: int
    height: int
    fps: float
    num_frames: int


@dataclass(frozen=True)
class TimedFrame:
    """A frame (RGB uint8 [H, W, 3], upright), its index among all from 0, its time in s since the first."""

    index: int
    time: float
    image: Frame


def probe(path: str | Path, fps: float | None = None) -> VideoInfo:
    """Size, rate and number of frames of a video, counted by decoding: headers may be wrong. fps: see `iterate`.

    Raises VideoError naming the file when it is missing (also a FileNotFoundError), empty, not a video, damaged, or has
    no frame.
    """
    size, num_frames = (0, 0), 0
    for picture in _decode(path, fps):
        size, num_frames = picture.size(), num_frames + 1
    rate = _rate(Path(path), fps)
    if rate <= 0:
        raise VideoError("no_frames", f"{path}: the video has no frame rate")
    return VideoInfo(width=size[0], height=size[1], fps=rate, num_frames=num_frames)


def read_frames(path: str | Path, fps: float | None = None) -> Iterator[Frame]:
    """Decode a video frame by frame, RGB uint8 [H, W, 3], upright. Raises as `probe` does."""
    for picture in _decode(path, fps):
        yield picture.image()


def iterate(path: str | Path, fps: float | None = None) -> Iterator[TimedFrame]:
    """Decode a video, each frame with its true time; times always rise. Raises as `probe` does.

    path: a file, or a folder of .png and .jpg images in natural order, which come at `fps` (None: 30); files have
    their own times, and `fps` changes nothing. Turned by their metadata, transparency on white, pixels made square.
    """
    for index, picture in enumerate(_decode(path, fps)):
        yield TimedFrame(index, picture.time, picture.image())


def frames_at(path: str | Path, indices: Iterable[int]) -> Iterator[Frame]:
    """Some frames of a video, by their index among all; decodes in one pass, converts only these, ends with the last.

    indices: not falling, read one at a time as frames are taken; a repeated one gives the same array again, which is
    therefore read-only. Raises as `probe` does, and ValueError for an index that falls or lies beyond the end.
    """
    with closing(_decode(path, None)) as pictures:  # type: ignore[type-var]
        current, image = -1, None
        for index in indices:
            if index < max(current, 0):
                raise ValueError(
                    f"{path}: frames must be asked for in rising order from 0, not {index} after {current}"
                )
            if index > current:
                picture, current = _advance(pictures, path, current, index), index
                image = picture.image()
                image.flags.writeable = False
            assert image is not None
            yield image


@contextmanager
def local_copy(location: str | Path) -> Iterator[Path]:
    """A local path of a file or folder: the path itself, or a temporary copy of what an fsspec URL names.

    A copy has the file's suffix (a folder's files keep their names) and is removed when the context is left. Raises
    VideoError (`missing`, `unreadable`) naming the location.
    """
    if not is_url(str(location)):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="hia-") as folder:
        yield _fetched(str(location), Path(folder))


def _fetched(location: str, folder: Path) -> Path:
    try:
        copy = fetch(location, folder)
    except Exception as error:  # of any class
        raise UnreachableVideo("unreadable", f"{location}: cannot be fetched ({error})") from error
    if copy is None:
        raise MissingVideo("missing", f"no such file or folder: {location}")
    return copy


def _advance(pictures: Iterator[Picture], path: str | Path, current: int, index: int) -> Picture:
    picture = None
    while current < index:
        picture, current = next(pictures, None), current + 1
        if picture is None:
            raise ValueError(f"{path}: there is no frame {index}, the video has {current}")
    assert picture is not None
    return picture


def _decode(path: str | Path, fps: float | None) -> Iterator[Picture]:
    path = Path(path)
    return decode_folder(path, fps) if path.is_dir() else decode_file(path)


def _rate(path: Path, fps: float | None) -> float:
    if path.is_dir():
        return DEFAULT_FPS if fps is None else fps
    with open_video(path) as container:
        return stated_rate(video_stream(container, path))
