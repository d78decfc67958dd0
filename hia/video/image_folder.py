"""A folder of numbered images as a video."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hia.images import Frame, load_image
from hia.video.conversion import MAX_SIDE
from hia.video.errors import VideoError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
DEFAULT_FPS = 30.0


def natural_key(name: str) -> tuple[list[int | str], str]:
    """Sort key that orders numbers in names by value: `2.png` before `10.png`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


@dataclass
class ImageFolder:
    """The images of a folder in natural order. The first one that is read sets the size of all."""

    path: Path
    files: list[Path]
    size: tuple[int, int] | None = None

    def image(self, index: int) -> Frame:
        """Read one frame. Raises VideoError naming it when it cannot be read or has another size than those before."""
        try:
            image = load_image(self.files[index])
        except ValueError as error:
            raise VideoError("decoding_failed", f"{self.path}: frame {index}: {error}") from None
        size = image.shape[1], image.shape[0]
        if max(size) > MAX_SIDE:
            raise VideoError("size", f"{self.files[index]}: {_size_text(size)} px, sides are at most {MAX_SIDE} px")
        self.size = self.size or size
        if size != self.size:
            raise VideoError(
                "decoding_failed",
                f"{self.files[index]} is {_size_text(size)} px, unlike {_size_text(self.size)} px before it",
            )
        return image


@dataclass(frozen=True)
class FolderPicture:
    """A frame of a folder, read on demand."""

    time: float
    folder: ImageFolder
    index: int

    def image(self) -> Frame:
        """RGB uint8 [H, W, 3]."""
        return self.folder.image(self.index)

    def size(self) -> tuple[int, int]:
        """Width and height; reads the whole image, because it may be damaged."""
        height, width = self.image().shape[:2]
        return width, height


def decode_folder(path: Path, fps: float | None) -> Iterator[FolderPicture]:
    """The frames of a folder, at `fps` (None: 30) frames per second. Raises VideoError when there is none."""
    rate = DEFAULT_FPS if fps is None else fps
    if not 0 < rate < float("inf"):
        raise ValueError(f"{path}: fps must be a positive number, not {fps}")
    files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    if not files:
        raise VideoError("no_video", f"{path}: the folder holds no {', '.join(sorted(IMAGE_SUFFIXES))} images")
    folder = ImageFolder(path, sorted(files, key=lambda file: natural_key(file.name)))
    for index in range(len(files)):
        yield FolderPicture(index / rate, folder, index)


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
