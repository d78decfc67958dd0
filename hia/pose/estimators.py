"""Pose estimators: their interface, the registry of them, and the function that loads the configured one.

A new estimator is a class with the methods of `PoseEstimator`, an entry in `ESTIMATORS` under a new `mode`, and in
`hia.config.PoseConfig` that mode and perhaps further settings. Importing this module loads no estimator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hia.config import PoseConfig

if TYPE_CHECKING:  # it loads OpenCV and Pillow
    from hia.images import Frame


class PoseEstimator(Protocol):
    """A pose estimator: people's boxes in a frame, 133 keypoints of the person in a box. Frames: RGB uint8 [H, W, 3].

    fingerprint: hex digest of everything that decides the numbers except rounding: the networks' bytes, the settings.
    It is part of the key of each clip whose keypoints are estimated.
    """

    fingerprint: str

    def detect(self, frame: "Frame") -> NDArray[np.float32]:
        """People in a frame, float32 [P, 5]: x1, y1, x2, y2 px within the frame, and score. Best first; P may be 0."""

    def estimate(self, frames: Sequence["Frame"], boxes: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints float32 [n, 133, 2] px and scores float32 [n, 133] of the person in boxes [n, 4] of n frames.

        boxes: x1, y1, x2, y2 px, as tight as a detector's; they may reach over the frame, whose outside is black.
        Scores lie in [0, 1]; keypoints of score 0 are meaningless. A frame that holds several people is passed once per
        box. Raises ValueError for boxes that are not finite or have no area.
        """

    def views(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """The parts of the frames that the pose network sees for boxes [n, 4]: float32 [n, 4], px."""


@dataclass(frozen=True)
class EstimatorEntry:
    """An estimator in the registry.

    load: makes one from the settings and the number of ONNX Runtime's threads within an operator (None: its own
    choice). file_settings: names of the settings that hold paths or URLs of its networks, None for a default.
    """

    load: Callable[[PoseConfig, int | None], PoseEstimator]
    file_settings: tuple[str, ...]


def _top_down(settings: PoseConfig, threads: int | None) -> PoseEstimator:
    from hia.pose.top_down import PoseModels, TopDownEstimator

    models = PoseModels(settings.detector, settings.pose, settings.feet, settings.mode)
    return TopDownEstimator(models, settings.device, threads)


TOP_DOWN = EstimatorEntry(_top_down, file_settings=("detector", "pose", "feet"))

# By `PoseConfig.mode`.
ESTIMATORS: Mapping[str, EstimatorEntry] = {
    "performance": TOP_DOWN,
    "balanced": TOP_DOWN,
    "lightweight": TOP_DOWN,
}

# The settings that every estimator has; the others choose its networks, and count in its fingerprint only.
COMMON_SETTINGS = ("source", "detect_every", "device")
NETWORK_SETTINGS = tuple(field.name for field in fields(PoseConfig) if field.name not in COMMON_SETTINGS)


def load_pose_estimator(settings: PoseConfig, threads: int | None = None) -> PoseEstimator:
    """Load the estimator that `settings.mode` names, onto `settings.device`.

    threads: of ONNX Runtime within an operator; None for its own choice. Raises MissingWeights for a network that is
    not there and cannot be downloaded, and ValueError for one that cannot be used.
    """
    return ESTIMATORS[settings.mode].load(settings, threads)


def model_files(settings: PoseConfig) -> list[str]:
    """Paths and URLs of networks that the settings name; those of defaults are left out."""
    names = (getattr(settings, name) for name in ESTIMATORS[settings.mode].file_settings)
    return [name for name in names if name]
