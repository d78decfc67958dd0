"""Requests to a served model: a valid one, and the parts of many invalid ones."""

import base64
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from hia.serving.limits import Limits

Row = dict[str, Any]

# Small, so that requests beyond them are small, too.
LIMITS = Limits(
    request_bytes=4 << 20,
    image_bytes=200_000,
    video_bytes=400_000,
    keypoint_bytes=200_000,
    image_pixels=300_000,
    video_pixels=40_000,
    output_pixels=128 * 128,
    output_side=256,
    frames=12,
    driving_seconds=2,
    steps=20,
    work=1e6,
    waiting=4,
    seconds=60,
    upload_seconds=20,
)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def picture(kind: str = "PNG", width: int = 40, height: int = 60, **options: Any) -> bytes:
    values = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def motion(frames: int = 5, seed: int = 0) -> dict[str, Any]:
    """The arrays of a keypoint file: 133 points that wander over 32×48 px."""
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.normal(0, 1, (frames, 133, 2)), axis=0)
    keypoints = steps + random.uniform((5, 5), (27, 43), (133, 2))
    return {"keypoints": keypoints, "scores": np.ones((frames, 133)), "width": 32, "height": 48, "fps": 10.0}


def npz(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def as_json(arrays: dict[str, Any]) -> str:
    return json.dumps({name: np.asarray(array).tolist() for name, array in arrays.items()})


def video(frames: int = 6, width: int = 64, height: int = 96, kind: str = "mp4", codec: str = "libx264") -> bytes:
    """A video of grey noise at 10 frames per second."""
    random = np.random.default_rng(0)
    pictures = [np.repeat(random.integers(0, 255, (height, width, 1), np.uint8), 3, 2) for _ in range(frames)]
    return video_of(pictures, kind, codec)


def video_of(frames: list[np.ndarray], kind: str = "mp4", codec: str = "libx264") -> bytes:
    """A video of RGB uint8 [H, W, 3] frames at 10 per second."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def good_row() -> Row:
    return {"reference": base64_of(picture()), "driving_keypoints": base64_of(npz(motion()))}


def with_reference(data: bytes) -> Row:
    return good_row() | {"reference": base64_of(data)}


def with_keypoints(data: bytes | str) -> Row:
    return good_row() | {"driving_keypoints": data if isinstance(data, str) else base64_of(data)}


def with_video(data: bytes) -> Row:
    return {"reference": base64_of(picture()), "driving_video": base64_of(data)}


def changed(**arrays: Any) -> dict[str, Any]:
    return motion() | arrays


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in motion().items() if key != name}


def spoilt(place: tuple[int, ...], value: float, name: str = "keypoints") -> dict[str, Any]:
    arrays = motion()
    arrays[name][place] = value
    return arrays


# --------------------------------------------------------------------------------------------------- malicious media


def png_bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A few bytes whose header promises 400 million pixels, all zero."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def zip_bomb(size: int = 50_000_000) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keypoints.npy", bytes(size))
    return file.getvalue()


def many_members(count: int = 500) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.npy", b"")
    return file.getvalue()


def npz_that_claims(shape: tuple[int, ...]) -> bytes:
    """An .npz whose header of `keypoints` states a shape that its few bytes do not have."""
    file, header = io.BytesIO(npz(without("keypoints"))), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("keypoints.npy", header.getvalue() + bytes(64))
    return file.getvalue()


UNPICKLED = Path(tempfile.gettempdir()) / "hia-was-unpickled"


class Touch:
    """Unpickling it makes the file `UNPICKLED`."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(UNPICKLED), "w")


def pickled() -> bytes:
    return npz(changed(keypoints=np.array([Touch()], dtype=object)))


def playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def concat_script() -> bytes:
    return b"ffconcat version 1.0\nfile '/etc/passwd'\n"


def disguised(data: bytes) -> bytes:
    """Data behind the first bytes of an mp4."""
    return b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + data
