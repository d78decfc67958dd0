"""Keypoint files in JSON with all people of a video: OpenPose's, and COCO-WholeBody annotations or results."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import FACE, FEET, JOINTS, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND
from hia.video.image_folder import natural_key

# Keypoints float32 [P, 133, 2] px and scores float32 [P, 133] in [0, 1] of the P people in a frame.
PeopleInFrame = tuple[NDArray[np.float32], NDArray[np.float32]]

# A person's x, y and score, float64 [133, 3].
Points = NDArray[np.float64]

MAX_BYTES = 1 << 30
RATE_TOLERANCE = ASPECT_TOLERANCE = 0.01

# Orders of OpenPose's body points by their number. `JOINTS` has neither the neck nor the middle of the hips.
_ARMS = [f"{side}_{joint}" for side in ("right", "left") for joint in ("shoulder", "elbow", "wrist")]
_LEGS = [f"{side}_{joint}" for side in ("right", "left") for joint in ("hip", "knee", "ankle")]
_HEAD = ["right_eye", "left_eye", "right_ear", "left_ear"]
_FEET = [f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")]
OPENPOSE_BODIES = {
    18: ["nose", "neck", *_ARMS, *_LEGS, *_HEAD],
    25: ["nose", "neck", *_ARMS, "middle_hip", *_LEGS, *_HEAD, *_FEET],
}
OPENPOSE_FACES = (70, 68)

BODY_AND_FEET = slice(0, 23)
COCO_PARTS = {
    "foot_kpts": FEET,
    "face_kpts": FACE,
    "lefthand_kpts": LEFT_HAND,
    "righthand_kpts": RIGHT_HAND,
}


@dataclass(frozen=True)
class _Frame:
    """The people of a frame as in the file. where: its name in messages; size: (width, height) that the file states."""

    where: str
    people: list[Any]
    size: tuple[float, float] | None
    read: Callable[[dict[str, Any]], Points]


def load_people(
    path: str | Path, num_frames: int | None, width: int, height: int, fps: float | None = None
) -> list[PeopleInFrame]:
    """The people in each frame of a video of width × height px.

    path: one of
    - a folder with OpenPose's `*_keypoints.json` for each frame, in natural order;
    - a file with a list of such objects, or with that list as `frames` (and perhaps `fps`);
    - COCO-WholeBody annotations: frames are the `images`, in natural order of `file_name` if they have one;
    - a list of COCO-WholeBody results: frames are the `image_id`s in natural order.
    num_frames, fps: of the video; None accepts any. Parts that are missing have score 0; visibility flags 0, 1, 2 of
    annotations are read as scores 0, 0.5, 1. Points are scaled if the file states another size of the same shape.

    Raises FileNotFoundError, and ValueError naming file, frame and key for what cannot be read, is larger than
    `MAX_BYTES`, has another number of frames or rate, or belongs to pictures of another size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"keypoint file not found: {path}")
    people: list[Points] = []
    try:
        for frame in _openpose_folder(path) if path.is_dir() else _frames_of_file(path, fps):
            people.append(_people(frame, width, height))
        if num_frames is not None and len(people) != num_frames:
            raise ValueError(f"it has {len(people)} frames, the video {num_frames}")
        _flags_to_scores(people)
        _check_place(people, width, height)
    except ValueError as error:
        raise ValueError(f"keypoint file {path}: {error}") from None
    return [(points[..., :2].astype(np.float32), points[..., 2].clip(0, 1).astype(np.float32)) for points in people]


def _openpose_folder(folder: Path) -> Iterator[_Frame]:
    files = sorted(folder.glob("*_keypoints.json"), key=lambda file: natural_key(file.name))
    if not files:
        raise ValueError("the folder holds no *_keypoints.json")
    if sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise ValueError(f"its files are larger than {MAX_BYTES >> 30} GiB together")
    for file in files:
        yield _openpose_frame(file.name, _read_json(file, f"{file.name}: "))


def _frames_of_file(path: Path, fps: float | None) -> Iterator[_Frame]:
    content = _read_json(path)
    if isinstance(content, dict) and "annotations" in content:
        return _coco_frames(_list_of(content, "annotations"), _list_of(content, "images"))
    if isinstance(content, list) and content and isinstance(content[0], dict) and "image_id" in content[0]:
        return _coco_frames(content, None)
    if isinstance(content, dict) and "frames" in content:
        _check_rate(content.get("fps"), fps)
        content = _list_of(content, "frames")
    if isinstance(content, dict) and "people" in content:
        content = [content]
    if isinstance(content, list) and content:
        return (_openpose_frame(f"frame {number}", frame) for number, frame in enumerate(content))
    raise ValueError("it has neither OpenPose's `people` nor COCO's `annotations`")


def _read_json(path: Path, where: str = "") -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{where}it is larger than {MAX_BYTES >> 30} GiB")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{where}it is no JSON that can be read ({error})") from None


def _openpose_frame(where: str, content: Any) -> _Frame:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: it must be an object with `people`")
    try:
        people = _list_of(content, "people")
        size = _size(content, "canvas_width", "canvas_height")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return _Frame(where, people, size, _openpose_person)


def _openpose_person(person: dict[str, Any]) -> Points:
    # Before its version 1.2, OpenPose wrote the keys without _2d.
    parts = {key.removesuffix("_2d"): key for key in person}
    known = {name: parts.get(name) for name in ("pose_keypoints", "face_keypoints")}
    known |= {f"hand_{side}_keypoints": parts.get(f"hand_{side}_keypoints") for side in ("left", "right")}
    if not any(known.values()):
        raise ValueError("it has none of pose_keypoints_2d, face_keypoints_2d, hand_left_keypoints_2d and the like")
    points = np.zeros((NUM_KEYPOINTS, 3))
    body = _triples(person, known["pose_keypoints"], tuple(OPENPOSE_BODIES))
    for name, point in zip(OPENPOSE_BODIES.get(len(body), ()), body, strict=True):
        if name in JOINTS:
            points[JOINTS[name]] = point
    # The last two of 70 points are the pupils.
    face = _triples(person, known["face_keypoints"], OPENPOSE_FACES)[:68]
    points[FACE][: len(face)] = face
    for side, place in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
        hand = _triples(person, known[f"hand_{side}_keypoints"], (21,))
        points[place][: len(hand)] = hand
    return points


def _coco_frames(annotations: list[Any], images: list[Any] | None) -> Iterator[_Frame]:
    people: dict[Any, list[Any]] = defaultdict(list)
    for number, annotation in enumerate(annotations):
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if not isinstance(image, (int, str)):
            raise ValueError(f"annotation {number}: image_id must be a number or text, not {image!r}")
        people[image].append(annotation)
    if images is None:
        images = [{"id": image} for image in sorted(people, key=lambda image: natural_key(str(image)))]
    identities = [image.get("id") if isinstance(image, dict) else None for image in images]
    if not all(isinstance(identity, (int, str)) for identity in identities) or len(set(identities)) < len(identities):
        raise ValueError("each of `images` must have an `id` of its own, a number or text")
    if unknown := set(people) - set(identities):
        raise ValueError(f"annotations are for image_id {min(unknown, key=str)}, which is not among `images`")
    if all(isinstance(image.get("file_name"), str) for image in images):
        images = sorted(images, key=lambda image: natural_key(image["file_name"]))
    for image in images:
        where = f"image {image.get('file_name', image['id'])}"
        yield _Frame(where, people[image["id"]], _size(image, "width", "height"), _coco_person)


def _coco_person(person: dict[str, Any]) -> Points:
    points = np.zeros((NUM_KEYPOINTS, 3))
    if "keypoints" not in person:
        raise ValueError("it has no keypoints")
    body = _triples(person, "keypoints", (17, NUM_KEYPOINTS))
    points[: len(body)] = body
    for key, place in COCO_PARTS.items():
        part = _triples(person, key if key in person else None, (place.stop - place.start,))
        points[place][: len(part)] = part
    return points


def _people(frame: _Frame, width: int, height: int) -> Points:
    """float64 [P, 133, 3] of a frame, in pixels of the video."""
    points = np.zeros((len(frame.people), NUM_KEYPOINTS, 3))
    for number, person in enumerate(frame.people):
        try:
            if not isinstance(person, dict):
                raise ValueError("it must be an object")
            points[number] = frame.read(person)
        except ValueError as error:
            raise ValueError(f"{frame.where}, person {number}: {error}") from None
    if frame.size is not None:
        stated_width, stated_height = frame.size
        if abs(stated_width / stated_height / (width / height) - 1) > ASPECT_TOLERANCE:
            raise ValueError(
                f"{frame.where}: it is for pictures of {stated_width:g}×{stated_height:g} px, not {width}×{height} px"
            )
        points[..., :2] = (points[..., :2] + 0.5) * (width / stated_width, height / stated_height) - 0.5
    return points


def _triples(person: dict[str, Any], key: str | None, allowed: Sequence[int]) -> Points:
    """x, y, score of a part, [n, 3] with an allowed n; [0, 3] where the part is missing, null or empty."""
    values = [] if key is None else person[key]
    if values is None or values == []:
        return np.zeros((0, 3))
    if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
        raise ValueError(f"{key} must be a list of numbers")
    if len(values) not in [3 * number for number in allowed]:
        sizes = " or ".join(str(3 * number) for number in sorted(allowed))
        raise ValueError(f"{key} has {len(values)} numbers, not {sizes} (x, y and score of each point)")
    try:
        points = np.array(values, dtype=np.float64).reshape(-1, 3)
    except OverflowError:
        points = np.full((1, 3), np.inf)
    if not (np.abs(points) < 1e6).all():
        raise ValueError(f"{key} has values that are not finite, or beyond any picture")
    return points


def _list_of(content: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(content.get(key), list):
        raise ValueError(f"{key} must be a list")
    return list(content[key])


def _size(content: dict[str, Any], width_key: str, height_key: str) -> tuple[float, float] | None:
    """Width and height that a frame states; None when it states none."""
    if content.get(width_key) is None or content.get(height_key) is None:
        return None
    width, height = content[width_key], content[height_key]
    if not all(type(value) in (int, float) and 0 < value < 1e6 for value in (width, height)):
        raise ValueError(f"{width_key} and {height_key} must be positive numbers, not {width!r} and {height!r}")
    return float(width), float(height)


def _check_rate(stated: Any, fps: float | None) -> None:
    if stated is None or fps is None:
        return
    if type(stated) not in (int, float) or abs(stated / fps - 1) > RATE_TOLERANCE:
        raise ValueError(f"fps is {stated!r}, the video has {fps:g}")


def _flags_to_scores(people: Sequence[Points]) -> None:
    """Turn the visibility flags of annotations (2 visible, 1 hidden, 0 not labelled) into scores, in place."""
    values = np.unique(np.concatenate([points[:, BODY_AND_FEET, 2].ravel() for points in people]))
    if 2 in values and set(values) <= {0, 1, 2}:
        for points in people:
            points[:, BODY_AND_FEET, 2] /= 2


def _check_place(people: Sequence[Points], width: int, height: int) -> None:
    """Raise ValueError for points that cannot be pixels of the video."""
    points = np.concatenate([frame.reshape(-1, 3) for frame in people])
    seen = points[points[:, 2] > 0, :2]
    if len(seen) and np.abs(seen).max() <= 1:
        raise ValueError(
            "its coordinates are shares of the picture; they must be pixels (OpenPose: --keypoint_scale 0)"
        )
    inside = ((seen >= -0.5) & (seen <= (width - 0.5, height - 0.5))).all(axis=1)
    if len(seen) and inside.mean() < 0.5:
        raise ValueError(f"most of its points lie outside of the video's {width}×{height} px: it is for another size")
