"""Still images, RGB uint8 [H, W, 3]: safe reading, fitting to a size without distortion, tensors, JPEG and PNG."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor


Frame = NDArray[np.uint8]
MAX_PIXELS = 100_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
# OpenCV's decoding modes by reduction of the size: JPEGs decode to 1/2 and 1/4 directly from their 8×8 blocks, which
# costs a fraction of the full size.
REDUCED = {1: cv2.IMREAD_COLOR_RGB, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
# Up to this width in pixels, JPEGs keep the full resolution of colour. Wider ones store colour at half of it: they
# decode faster and look the same.
FULL_COLOUR_WIDTH = 320
# PNG's lowest compression level: twice as fast as the default, and the file is hardly larger.
FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


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
    """Read an open file as `load_image` does; `name` stands for it in messages.

    The size is checked before any pixel is decoded.
    """
    try:
        with warnings.catch_warnings(), Image.open(file, formats=formats) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if image.width * image.height > max_pixels:
                raise ValueError(f"{name}: {image.width}×{image.height} pixels, more than {max_pixels:,} are refused")
            return _as_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a readable image ({error})") from None


def fit_to_size(image: Frame, width: int, height: int) -> Frame:
    """Scale to cover width×height and crop the centre: no distortion, no padding.   → uint8 [height, width, 3]

    `KeypointSequence.resized` applies the same transform to keypoints.
    """
    source_height, source_width = image.shape[:2]
    scale, offset_x, offset_y = cover_transform(source_width, source_height, width, height)
    left, top = max(offset_x / scale, 0.0), max(offset_y / scale, 0.0)
    box = (left, top, min(left + width / scale, source_width), min(top + height / scale, source_height))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, box=box))


def cover_transform(
    source_width: float, source_height: float, width: float, height: float
) -> tuple[float, float, float]:
    """The transform that scales to cover and crops the centre, without distortion: (scale, offset_x, offset_y).

    A point moves to x' = (x + 0.5)·scale − offset_x − 0.5, y likewise: the crop cuts the offsets off the left and the
    top of the scaled picture, in its pixels. Raises ValueError for sizes that are not positive.
    """
    if min(source_width, source_height, width, height) <= 0:
        raise ValueError(f"sizes must be positive, not {source_width}×{source_height} and {width}×{height}")
    scale = max(width / source_width, height / source_height)
    return scale, (source_width * scale - width) / 2, (source_height * scale - height) / 2


def to_tensor(frames: Frame) -> "Tensor":
    """uint8 [..., H, W, 3] → float32 [..., 3, H, W] in [−1, 1]."""

    import torch  # here: the modules that only read pictures and videos start without it

    return torch.from_numpy(np.array(frames)).movedim(-1, -3).float() / 127.5 - 1


def to_frames(images: "Tensor") -> Frame:
    """float [..., 3, H, W] in [−1, 1] (clipped) → uint8 [..., H, W, 3]."""
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().movedim(-3, -1).cpu().numpy()


def encode_jpeg(frame: Frame, quality: int) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] → the bytes of a JPEG, uint8 [n]. quality: 1 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if frame.shape[1] <= FULL_COLOUR_WIDTH:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a frame of {frame.shape[1]}×{frame.shape[0]} cannot be made a JPEG")
    return data.reshape(-1).astype(np.uint8, copy=False)


def decode_jpeg(data: NDArray[np.uint8], reduction: int = 1) -> Frame:
    """The bytes of a JPEG, uint8 [n] → RGB uint8 [H/r, W/r, 3]; reduction r is 1, 2 or 4 (sizes are rounded up).

    Raises ValueError when the bytes are not a JPEG.
    """
    frame = cv2.imdecode(data, REDUCED[reduction])
    if frame is None:
        raise ValueError("a frame's JPEG is damaged")
    rgb = frame if reduction == 1 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return rgb.astype(np.uint8, copy=False)


def encode_png(picture: Frame, options: Sequence[int] = ()) -> bytes:
    """RGB uint8 [H, W, 3] → a PNG file's content. options: of OpenCV. Raises ValueError when it cannot be made."""
    done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of {picture.shape[1]}×{picture.shape[0]} cannot be made a PNG")
    return content.tobytes()


def write_png(path: Path, picture: Frame) -> None:
    """Write RGB uint8 [H, W, 3] as a PNG, faster and slightly larger than `encode_png`'s default. Raises OSError."""
    try:
        path.write_bytes(encode_png(picture, FAST_PNG))
    except ValueError:
        raise OSError(f"{path}: the picture cannot be written") from None


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
