"""The driving keypoints of a request: given, or estimated from its video; resampled and aligned as requested."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hia.config import PreprocessConfig
from hia.images import Frame
from hia.pose.box_tracks import NoPerson
from hia.pose.estimators import PoseEstimator
from hia.pose.keypoints import KeypointSequence
from hia.pose.retarget import align_to_reference
from hia.pose.tracking import PersonTrack, follow_person
from hia.serving.errors import RequestError
from hia.serving.queue import RequestContext
from hia.serving.schema import Request
from hia.serving.video_upload import ClipInMemory
from hia.video import resample
from hia.weights.find import MissingWeights


class MotionReader:
    """Reads or estimates keypoints; `make_estimator` loads the pose networks when a request first needs them.

    settings: those of the model's training clips; detection and short gaps are treated alike.
    """

    def __init__(self, make_estimator: Callable[[], PoseEstimator], settings: PreprocessConfig) -> None:
        self._make_estimator, self._settings = make_estimator, settings
        self._estimator: PoseEstimator | None = None

    def keypoints(self, request: Request, context: RequestContext) -> KeypointSequence:
        """The driving keypoints without short gaps, at the rate and aligned as requested. Raises RequestError."""
        driving = request.driving
        if isinstance(driving, ClipInMemory):
            driving = self._estimated(driving, context)
        driving = driving.with_gaps_filled(self._settings.longest_gap_seconds)
        if request.params.fps is not None:
            driving = at_rate(driving, request.params.fps)
        return self._aligned(driving, request) if request.params.align else driving

    def _estimated(self, clip: ClipInMemory, context: RequestContext) -> KeypointSequence:
        track = self._follow(CancellableFrames(clip, context), clip.name)
        shown = resample(np.array(clip.times), clip.fps)
        return KeypointSequence(track.keypoints[shown], track.scores[shown], clip.width, clip.height, clip.fps)

    def _aligned(self, driving: KeypointSequence, request: Request) -> KeypointSequence:
        height, width = request.reference.shape[:2]
        person = request.reference_keypoints or self._follow([request.reference], "reference")
        try:
            return align_to_reference(driving, person.keypoints[0], person.scores[0], width, height)
        except ValueError as error:
            raise RequestError(f"align: {error}") from None

    def _follow(self, frames: Iterable[Frame], name: str) -> PersonTrack:
        try:
            self._estimator = self._estimator or self._make_estimator()
            return follow_person(frames, self._estimator, detect_every=self._settings.pose.detect_every)
        except NoPerson as error:
            raise RequestError(f"{name}: {error}") from None
        except MissingWeights:
            raise RequestError(
                f"{name}: this server has no networks that find keypoints: send them, as driving_keypoints or "
                "reference_keypoints"
            ) from None


@dataclass(frozen=True, eq=False)
class CancellableFrames:
    """Frames of a clip, until their request is cancelled."""

    clip: ClipInMemory
    context: RequestContext

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.clip:
            self.context.check()
            yield frame


def num_frames(request: Request) -> int:
    """The number of frames of a request's motion at its rate, before its keypoints are known."""
    driving, asked = request.driving, request.params.fps
    if isinstance(driving, ClipInMemory):
        seconds, count = driving.times[-1], 1 + int(driving.times[-1] * driving.fps + 1e-6)
    else:
        seconds, count = (len(driving) - 1) / driving.fps, len(driving)
    return count if asked is None else 1 + int(seconds * asked + 1e-6)


def at_rate(sequence: KeypointSequence, fps: float) -> KeypointSequence:
    """Resample a motion to another rate, at the same speed: at each instant the nearest frame."""
    shown = resample(np.arange(len(sequence)) / sequence.fps, fps)
    return replace(sequence, keypoints=sequence.keypoints[shown], scores=sequence.scores[shown], fps=fps)
