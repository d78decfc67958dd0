"""Annotations of a clip: arrays measured from its frames, keypoints and maps (paper sec. 3.2, A.4).

Hand movement and sharpness, boxes of hands and face, five face points, JPEGs of frames and maps.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.conditions.blur import hand_movement, sharpness
from hia.conditions.regions import Box, face_box, face_is_usable, five_points, hand_boxes
from hia.data.preprocess.crop import Crop
from hia.data.preprocess.person import ASPECT_TOLERANCE
from hia.data.preprocess.shots import Survey
from hia.data.store.clip import map_names
from hia.data.store.records import Rejected
from hia.images import Frame, encode_jpeg
from hia.pose.keypoints import KeypointSequence
from hia.video import VideoError, probe

Arrays = dict[str, NDArray]
NO_BOX = (-1, -1, -1, -1)


def measure_keypoints(sequence: KeypointSequence, filled: NDArray[np.bool_], content: Box | None = None) -> Arrays:
    """The arrays of a clip that depend on its keypoints only; types and shapes are in `hia.data.store.clip.Clip`.

    filled: bool [N, 133], interpolated keypoints. content: the part of the frame that is not padding, None for all of
    it. Boxes are cut off at its border as at the frame's, because the edge of the padding would count as sharpness.
    """
    width, height = sequence.width, sequence.height
    people = list(zip(sequence.keypoints, sequence.scores, strict=True))
    seen = partial(_within, content or Box(0, 0, width, height))
    hands = [tuple(map(seen, hand_boxes(*person, width, height))) for person in people]
    faces = [seen(face_box(*person, width, height)) for person in people]
    points = [five_points(*person) for person in people]
    usable = [face_is_usable(five, face, width) for five, face in zip(points, faces, strict=True)]
    unknown = np.full((5, 2), np.nan, np.float32)
    return {
        "keypoints": sequence.keypoints,
        "scores": sequence.scores,
        "filled": filled,
        "movement": hand_movement(sequence.keypoints, sequence.scores, width, height, sequence.fps),
        "hand_boxes": np.array([[box or NO_BOX for box in pair] for pair in hands], np.int32),
        "face_boxes": np.array([box or NO_BOX for box in faces], np.int32),
        "five_points": np.stack([unknown if five is None else five for five in points]),
        "face_usable": np.array(usable, bool),
    }


def measure_frames(frames: Iterable[Frame], boxes: NDArray[np.int32], jpeg_quality: int) -> Arrays:
    """The JPEGs of all frames and the raw sharpness of each hand; holds one frame at a time.

    frames: RGB uint8 [H, W, 3]; boxes: `hand_boxes` of `measure_keypoints`, [N, 2 hands, 4]. Sharpness is measured
    before JPEG compression. Raises ValueError when there are fewer or more frames than boxes.
    """
    pictures, sharpnesses = [], []
    for frame, pair in zip(frames, boxes, strict=True):
        pictures.append(encode_jpeg(frame, jpeg_quality))
        sharpnesses.append([_sharpness(frame, Box(*box.tolist())) for box in pair])
    return {
        "jpeg": np.concatenate(pictures),
        "offsets": np.cumsum([0, *map(len, pictures)], dtype=np.int64),
        "sharpness": np.array(sharpnesses, np.float32),
    }


def map_arrays(name: str, pictures: Iterable[Frame], crop: Crop, jpeg_quality: int) -> Arrays:
    """The JPEGs of a map's pictures, cropped and scaled like the frames.

    pictures: RGB uint8 [H, W, 3] of any size with the video's aspect ratio.
    """
    source = crop.source_width, crop.source_height
    encoded = [encode_jpeg(crop.apply(_sized(picture, source)), jpeg_quality) for picture in pictures]
    jpeg, offsets = map_names(name)
    return {jpeg: np.concatenate(encoded), offsets: np.cumsum([0, *map(len, encoded)], dtype=np.int64)}


def check_map(name: str, path: Path, survey: Survey) -> None:
    """Check that a map decodes and has its video's frame count and aspect ratio. Raises Rejected (map) if not."""
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


def _within(content: Box, box: Box | None) -> Box | None:
    """The part of a box that lies within the content; None when it is empty."""
    if box is None:
        return None
    part = Box(*map(max, box[:2], content[:2]), *map(min, box[2:], content[2:]))
    return part if part.left < part.right and part.top < part.bottom else None


def _sharpness(frame: Frame, box: Box) -> float:
    return float("nan") if box == NO_BOX else sharpness(frame[box.top : box.bottom, box.left : box.right])


def _sized(picture: Frame, size: tuple[int, int]) -> Frame:
    """The picture in the video's size, (width, height) px.

    Nearest values are taken, because a mixture of the colours of two body parts would be the colour of a third one.
    """
    if picture.shape[1::-1] == size:
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
