"""The main person's track through a segment of a video, from a keypoint file (sidecar) or the pose estimator."""

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

# Sizes of a sidecar or map and its video may differ, aspect ratios only by this share.
ASPECT_TOLERANCE = 0.01


def keypoint_origin(source: VideoSource, settings: PreprocessConfig) -> Literal["sidecar", "estimate"]:
    """The origin of a video's keypoints: the file beside it, or the pose networks.

    `sidecar` also where the settings demand a file that is missing. The clip key and the processing both depend on it.
    """
    if settings.pose.source == "auto":
        return "estimate" if source.sidecar is None else "sidecar"
    return settings.pose.source


@dataclass(frozen=True)
class Sidecar:
    """The content of a keypoint file for each frame of a video: one person (.npz), or all people (JSON)."""

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
    """Read a keypoint file (.npz, OpenPose or COCO-WholeBody JSON) of a surveyed video.

    Raises Rejected (sidecar) when it cannot be read, or has another number of frames or aspect ratio than the video.
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
    """The main person's track in these frames, estimated by the networks; see `follow_person`. Raises Rejected."""
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
