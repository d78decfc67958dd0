"""Still images: reading them safely and fitting them to a size without distortion. RGB uint8 [H, W, 3]."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hia.pose.keypoints import cover_transform

if TYPE_CHECKING:
    from torch import Tensor

Frame = NDArray[np.uint8]

MAX_PIXELS = 100_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")


def load_image(path: str | Path) -> Frame:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF (first frame) as RGB, turned as its EXIF says, transparency on white.

    Raises FileNotFoundError, or ValueError naming the file when it is empty, not an image, cut off, of more than 16
    bits, or larger than `MAX_PIXELS`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    with open(path, "rb") as file:
        return read_image(file, str(path))


def read_image(file: BinaryIO, name: str, formats: tuple[str, ...] = FORMATS, max_pixels: int = MAX_PIXELS) -> Frame:
    """The same of an open file; `name` is what messages call it. No pixel is decoded of one that is too large."""
    try:
        with warnings.catch_warnings(), Image.open(file, formats=formats) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if image.width * image.height > max_pixels:
                raise ValueError(f"{name}: {image.width}×{image.height} pixels, more than {max_pixels:,} are refused")
            return _as_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a readable image ({error})") from None


def fit_to_size(image: Frame, width: int, height: int) -> Frame:
    """Scale to cover width×height and crop to its centre: no distortion, no padding.   → uint8 [height, width, 3]

    The transform that `KeypointSequence.resized` applies to keypoints.
    """
    source_height, source_width = image.shape[:2]
    scale, offset_x, offset_y = cover_transform(source_width, source_height, width, height)
    left, top = max(offset_x / scale, 0.0), max(offset_y / scale, 0.0)
    box = (left, top, min(left + width / scale, source_width), min(top + height / scale, source_height))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, box=box))


def to_tensor(frames: Frame) -> "Tensor":
    """uint8 [..., H, W, 3] → float32 [..., 3, H, W] in [−1, 1]."""
    import torch  # a second, for which a command's help need not wait

    return torch.from_numpy(np.array(frames)).movedim(-1, -3).float() / 127.5 - 1


def to_frames(images: "Tensor") -> Frame:
    """float [..., 3, H, W] in [−1, 1] (clipped) → uint8 [..., H, W, 3]."""
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().movedim(-3, -1).cpu().numpy()


def _as_rgb(image: Image.Image) -> Frame:
    if image.mode.startswith("I;16"):
        # Pillow would clip 16 bits to 8.
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise OSError(f"pixels of type {image.mode} have no known range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))
