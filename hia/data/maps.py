"""Maps: further pictures of each frame beside a video, such as its depth, kept in the clip like the frames."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from hia.data.clip import map_names
from hia.data.crop import Crop
from hia.data.jpeg import encode_jpeg
from hia.data.measure import Arrays
from hia.data.people import ASPECT_TOLERANCE
from hia.data.records import Rejected
from hia.data.survey import Survey
from hia.images import Frame
from hia.video import VideoError, probe


def check_map(name: str, path: Path, survey: Survey) -> None:
    """Decode a map once. Raises Rejected (map) unless it has as many frames as its video, of the same shape."""
    try:
        info = probe(path)
    except VideoError as error:
        raise Rejected("map", f"its {name}: {error}") from None
    if info.num_frames != survey.num_frames:
        raise Rejected("map", f"{path}: its {name} has {info.num_frames} frames, the video {survey.num_frames}")
    if abs(info.width * survey.height / (info.height * survey.width) - 1) > ASPECT_TOLERANCE:
        raise Rejected(
            "map", f"{path}: its {name} has {info.width}×{info.height} px, the video {survey.width}×{survey.height}"
        )


def map_arrays(name: str, pictures: Iterable[Frame], crop: Crop, jpeg_quality: int) -> Arrays:
    """The JPEGs of a map's pictures, cropped and scaled like the frames, RGB uint8 of any size in the video's shape."""
    source = crop.source_width, crop.source_height
    encoded = [encode_jpeg(crop.apply(_sized(picture, source)), jpeg_quality) for picture in pictures]
    jpeg, offsets = map_names(name)
    return {jpeg: np.concatenate(encoded), offsets: np.cumsum([0, *map(len, encoded)], dtype=np.int64)}


def _sized(picture: Frame, size: tuple[int, int]) -> Frame:
    """The picture in the video's size. Its nearest values: what is between two body parts is no third one."""
    if picture.shape[1::-1] == size:
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
