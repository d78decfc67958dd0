"""Whose keypoints, and from where: sidecar files or the pose estimator, one person through a segment of a video."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hia.config import PreprocessConfig
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.shots import Survey
from hia.data.store.records import Rejected
from hia.images import Frame
from hia.pose.box_tracks import NoPerson, boxes_of
from hia.pose.estimators import PoseEstimator
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoint_json import load_people
from hia.pose.keypoints import KeypointSequence
from hia.pose.tracking import PersonTrack, choose_from_people, follow_person

# Keypoints [P, 133, 2] and scores [P, 133] of the people in one frame.
People = tuple[NDArray[np.floating], NDArray[np.floating]]

# Sizes of a sidecar and its video may differ by scaling, not in shape.
ASPECT_TOLERANCE = 0.01


def keypoint_origin(source: VideoSource, settings: PreprocessConfig) -> Literal["sidecar", "estimate"]:
    """The origin of a video's keypoints: the file beside it (also where one is demanded and missing) or the networks.

    It decides both what is done and the key that a finished video is found again by.
    """
    if settings.pose.source == "auto":
        return "estimate" if source.sidecar is None else "sidecar"
    return settings.pose.source


@dataclass(frozen=True)
class Sidecar:
    """What a keypoint file says of each frame of a video: one person (.npz), or the people there (JSON)."""

    person: KeypointSequence | None
    people: Sequence[People]

    def track(self, indices: NDArray[np.integer]) -> PersonTrack:
        """The main person in these frames of the video. Raises Rejected (nobody)."""
        if self.person is None:
            return _track(lambda: choose_from_people([self.people[index] for index in indices]))
        keypoints, scores = self.person.keypoints[indices], self.person.scores[indices]
        boxes = boxes_of(keypoints, scores)
        return PersonTrack(keypoints, scores, boxes, np.where(np.isnan(boxes[:, 0]), np.nan, 0).astype(np.float32))


def load_sidecar(path: Path, survey: Survey) -> Sidecar:
    """Read a keypoint file (.npz, OpenPose or COCO-WholeBody JSON) for a surveyed video.

    Raises Rejected (sidecar) when it cannot be read, has another number of frames, or is for another shape of picture.
    """
    try:
        if path.suffix == ".npz":
            person = load_keypoints(path)
            frames = len(person)
            sidecar = Sidecar(_scaled(person, survey), ())
        else:
            people = load_people(path, survey.num_frames, survey.width, survey.height, survey.rate)
            frames = len(people)
            sidecar = Sidecar(None, people)
    except Rejected:
        raise
    except (ValueError, OSError) as error:
        raise Rejected("sidecar", str(error)) from None
    if frames != survey.num_frames:
        raise Rejected("sidecar", f"the keypoint file has {frames} frames, the video {survey.num_frames}")
    return sidecar


def estimate_track(frames: Iterable[Frame], estimator: PoseEstimator, detect_every: int) -> PersonTrack:
    """The main person in these frames as the networks see them; frames as for `follow_person`. Raises Rejected."""
    return _track(lambda: follow_person(frames, estimator, detect_every=detect_every), " that the detector looked at")


def _track(make: Callable[[], PersonTrack], which: str = "") -> PersonTrack:
    try:
        return make()
    except NoPerson as error:
        raise Rejected("nobody", f"{error}{which}") from None


def _scaled(person: KeypointSequence, survey: Survey) -> KeypointSequence:
    if abs(person.width / person.height / (survey.width / survey.height) - 1) > ASPECT_TOLERANCE:
        raise Rejected(
            "sidecar",
            f"the keypoint file is for a picture of {person.width}×{person.height} px, the video has "
            f"{survey.width}×{survey.height}",
        )
    same = (person.width, person.height) == (survey.width, survey.height)
    return person if same else person.resized(survey.width, survey.height)
