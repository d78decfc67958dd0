"""The result beside what it was made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hia.animation import UNTRAINED_SHARPNESS, DrivingSignal, driving_signal
from hia.evaluation.pictures import even, panel_row
from hia.images import Frame, fit_to_size
from hia.pose.keypoints import KeypointSequence
from hia.serving.clip import ClipInMemory
from hia.serving.provenance import GENERATED, read_statement
from hia.video import read_frames, resample, write_video
from hia.visualise import skeleton_picture

RESULT = "AI-generated result"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size, RGB uint8 [H, W, 3], drawn as they are asked for; label: what they show."""

    label: str
    frames: Iterator[Frame]


def skeletons(signal: DrivingSignal) -> Pictures:
    """What the networks see of a motion."""
    numbers = range(len(signal.keypoints))
    return Pictures("skeleton", (skeleton_picture(signal.control_image(number)) for number in numbers))


def driving_pictures(driving: KeypointSequence | ClipInMemory, width: int, height: int) -> Pictures:
    """A motion as it was sent, in another size: its skeletons, or the video where its keypoints are not known here."""
    if isinstance(driving, KeypointSequence):
        return skeletons(driving_signal(driving, width, height, UNTRAINED_SHARPNESS))
    return Pictures("driving video", (fit_to_size(frame, width, height) for frame in _at_its_rate(driving)))


def write_side_by_side(path: Path, result: Path, fps: float, reference: Frame, driving: Pictures) -> None:
    """Reference, driving pictures and result in a labelled row, as an mp4 that says of its origin what the result does.

    Its third picture keeps the result's watermark, but no program looks for one there: hence the label.
    """
    rows = (
        even(panel_row({"reference": reference, driving.label: shown, RESULT: frame}))
        for shown, frame in zip(driving.frames, read_frames(result), strict=False)
    )
    write_video(path, rows, fps, {"comment": read_statement(result) or GENERATED})


def _at_its_rate(clip: ClipInMemory) -> Iterator[Frame]:
    """The frames that a server makes keypoints of: the clip's at its nominal rate."""
    times_shown = np.bincount(resample(np.array(clip.times), clip.fps), minlength=len(clip.times))
    for frame, times in zip(clip, times_shown, strict=True):
        for _ in range(times):
            yield frame
