"""A generated video beside the true one, and what measuring them gives: plain values that travel between workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.evaluation.image import require_comparable
from hia.evaluation.regions import Regions
from hia.images import Frame
from hia.pose.keypoints import KeypointSequence

Rows = NDArray[np.floating]


@dataclass(frozen=True)
class Figure:
    """A mean over `count` values: frames, changes between frames, boxes or faces."""

    value: float
    count: int


class Features(NamedTuple):
    """What is compared only over all videos together: rows float [N, d] of the generated and [M, d] of the true one."""

    generated: Rows
    real: Rows


@dataclass(frozen=True, eq=False)
class VideoPair:
    """A generated and the true video, RGB uint8 [N, H, W, 3] each, of one length and size.

    keypoints: of the true video, in its pixels; regions: its boxes, by default those of the keypoints. Raises
    ValueError, with the video's name, when anything differs in length or size.
    """

    name: str
    generated: Frame
    real: Frame
    keypoints: KeypointSequence | None = None
    regions: Regions | None = None

    def __post_init__(self) -> None:
        try:
            require_comparable(self.real, self.generated)
            self._check_keypoints()
        except ValueError as error:
            raise ValueError(f"video {self.name}: {error}") from None
        if self.regions is None and self.keypoints is not None:
            object.__setattr__(self, "regions", Regions.of(self.keypoints))
        if self.regions is not None and len(self.regions) != len(self):
            raise ValueError(
                f"video {self.name}: there are boxes of {len(self.regions)} frames, but {len(self)} frames"
            )

    def __len__(self) -> int:
        return len(self.real)

    def from_frame(self, first: int) -> "VideoPair":
        """Without the frames before `first`. Raises ValueError when none are left."""
        if first == 0:
            return self
        if first >= len(self):
            raise ValueError(f"video {self.name}: of its {len(self)} frames, none are left after the first {first}")
        sequence, regions = self.keypoints, self.regions
        if sequence is not None:
            sequence = replace(sequence, keypoints=sequence.keypoints[first:], scores=sequence.scores[first:])
        if regions is not None:
            regions = Regions(regions.face[first:], regions.hands[first:])
        return VideoPair(self.name, self.generated[first:], self.real[first:], sequence, regions)

    def _check_keypoints(self) -> None:
        if self.keypoints is None:
            return
        height, width = self.real.shape[1:3]
        if len(self.keypoints) != len(self):
            raise ValueError(f"there are keypoints of {len(self.keypoints)} frames, but {len(self)} frames")
        if (self.keypoints.width, self.keypoints.height) != (width, height):
            raise ValueError(
                f"its keypoints are those of frames of {self.keypoints.width}×{self.keypoints.height} px, not "
                f"{width}×{height}"
            )


@dataclass(frozen=True, eq=False)
class VideoScores:
    """All that was measured of one video.

    figures: by metric; features: by the key of the distance that they are for; left_out: why a metric is absent.
    """

    name: str
    num_frames: int
    figures: Mapping[str, Figure]
    features: Mapping[str, Features] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """The figures alone, for a table's row."""
        return {name: figure.value for name, figure in self.figures.items()}
