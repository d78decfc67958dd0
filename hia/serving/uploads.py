"""Decoding of untrusted uploads: base64, JSON, pictures and keypoints, in memory and within limits.

Everything that is wrong is a RequestError naming the column.
"""

import base64
import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np

from hia.images import Frame, read_image
from hia.pose.keypoint_files import KEYS, read_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.serving.errors import RequestError, TooLarge
from hia.serving.limits import Limits

PICTURES = ("PNG", "JPEG", "WEBP")
# A frame in JSON has 133 points, as many lists of two numbers, and a score for each.
JSON_VALUES, JSON_VALUES_PER_FRAME = 1000, 4 * 133 + 10
# Arrays in an .npz.
MAX_MEMBERS = 64
# Of .npy, by version.
HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# The longest side of the picture that keypoints belong to, and the largest coordinate or score, px.
MAX_SIDE, MAX_COORDINATE = 16384, 1e6
# Frames per second.
RATES = (1.0, 240.0)


def decode_base64(text: str, name: str, max_bytes: int) -> bytes:
    """Decode base64 (RFC 4648, without line breaks)."""
    if len(text) > 4 * (-(-max_bytes // 3)):
        raise TooLarge(f"{name}: more than {max_bytes:,} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise RequestError(f"{name}: this is no base64 (no line breaks, no data: prefix)") from None
    if not data:
        raise RequestError(f"{name}: the file is empty")
    return data


def parse_json(text: bytes, name: str, limits: Limits) -> dict[str, Any]:
    """Parse a JSON object without NaN and infinities, of no more values than keypoints have.

    The values are counted first, because millions of empty lists would take seconds to parse. Raises RequestError, also
    for an object that is nested too deeply.
    """
    most = JSON_VALUES + JSON_VALUES_PER_FRAME * limits.frames
    if sum(map(text.count, (b"[", b"{", b","))) > most:
        raise RequestError(f"{name}: the JSON has more than {most:,} values")

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        values = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise RequestError(f"{name}: the JSON is nested too deeply") from None
    except ValueError as error:
        raise RequestError(f"{name} is no JSON: {str(error)[:200]}") from None
    if not isinstance(values, dict):
        raise RequestError(f"{name} must be a JSON object")
    return values


def parse_picture(data: bytes, name: str, limits: Limits) -> Frame:
    """Decode a PNG, JPEG or WebP picture, RGB uint8 [H, W, 3], turned as its EXIF says. Its header is checked first."""
    try:
        return read_image(io.BytesIO(data), name, PICTURES, limits.image_pixels)
    # Pillow's decoders raise exceptions of any kind on damaged bytes.
    except Exception as error:
        text = _without_addresses(str(error)) if isinstance(error, ValueError) else f"{name}: not a readable image"
        raise RequestError(f"{text} (PNG, JPEG and WebP are taken)") from None


def _without_addresses(text: str) -> str:
    """A message of Pillow's without the memory address of the file object that it names."""
    return text.partition(" (cannot identify image file")[0] if "<_io.BytesIO" in text else text


def parse_keypoints(text: str, name: str, limits: Limits) -> KeypointSequence:
    """Decode keypoints: an .npz in base64, or a JSON object with the same arrays."""
    if text.lstrip()[:1] == "{":
        sequence = _from_json(text, name, limits)
    else:
        sequence = _from_npz(decode_base64(text, name, limits.keypoint_bytes), name, limits)
    if len(sequence) > limits.frames:
        raise RequestError(f"{name} has {len(sequence)} frames; at most {limits.frames} are taken")
    if max(sequence.width, sequence.height) > MAX_SIDE:
        raise RequestError(f"{name}: {sequence.width}×{sequence.height} px; sides are at most {MAX_SIDE} px")
    if not RATES[0] <= sequence.fps <= RATES[1]:
        raise RequestError(f"{name}: fps must lie in {RATES[0]:g}..{RATES[1]:g}, not {sequence.fps:g}")
    if max(np.abs(sequence.keypoints).max(), np.abs(sequence.scores).max()) > MAX_COORDINATE:
        raise RequestError(f"{name} has values beyond any picture (more than {MAX_COORDINATE:,.0f})")
    return sequence


def _from_json(text: str, name: str, limits: Limits) -> KeypointSequence:
    if len(text) > limits.keypoint_bytes:
        raise TooLarge(f"{name}: more than {limits.keypoint_bytes:,} bytes")
    values = parse_json(text.encode(), name, limits)
    if set(values) != set(KEYS):
        raise RequestError(f"{name} as JSON must have {', '.join(KEYS)}, and nothing else")
    frames = values["keypoints"]
    if not isinstance(frames, list) or len(frames) > limits.frames:
        raise RequestError(f"{name}: keypoints must be a list of at most {limits.frames} frames")
    try:
        arrays = [_array(values["keypoints"], 3), _array(values["scores"], 2)]
        numbers = [float(_array(values[key], 0)) for key in ("width", "height", "fps")]
        return KeypointSequence(*arrays, *numbers)  # type: ignore[arg-type]
    except (ValueError, OverflowError, TypeError) as error:
        raise RequestError(f"{name}: {error}") from None


def _array(values: Any, dimensions: int) -> np.ndarray:
    """Numbers in nested lists of so many dimensions. Raises ValueError for texts and truth values, too."""
    array = np.array(values, dtype=object)
    if array.ndim != dimensions or not set(map(type, array.flat)) <= {int, float}:
        raise ValueError("keypoints [frames, 133, 2], scores [frames, 133], width, height and fps must be numbers")
    return array.astype(np.float64)


def _from_npz(data: bytes, name: str, limits: Limits) -> KeypointSequence:
    """Decode an .npz. The sizes that the archive and the arrays' headers state are checked before it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > limits.keypoint_bytes:
                most = f"{MAX_MEMBERS} arrays or {limits.keypoint_bytes:,} bytes"
                raise RequestError(f"{name}: more than {most} unpacked")
            for member in members:
                if member.filename.removesuffix(".npy") in KEYS:
                    _check_header(archive, member)
        return read_keypoints(io.BytesIO(data), name)
    except RequestError:
        raise
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        text = str(error)[:300].removeprefix(f"{name}: ")
        raise RequestError(f"{name} is no keypoint file (.npz without pickled objects): {text}") from None


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array has the size that its header states: numpy allocates that much before it reads."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADER_READERS:
            raise ValueError(f"{member.filename} is of version {version} of .npy")
        shape, _, dtype = HEADER_READERS[version](file)
        size = dtype.itemsize
        for length in shape:
            size *= int(length)
        if dtype.hasobject or dtype.kind not in "iuf" or size + file.tell() != member.file_size:
            raise ValueError(f"{member.filename} must be an array of numbers, of the size that it states")
