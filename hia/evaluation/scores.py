"""Input and output of metrics: a generated video beside the true one, settings, and scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.evaluation.image import require_comparable
from hia.evaluation.regions import Regions
from hia.images import Frame
from hia.pose.keypoints import KeypointSequence

CLIP_LENGTH = 16
BLACK = 0

Rows = NDArray[np.floating]


class MetricUnavailable(Exception):
    """A metric that a video cannot have; the message says why."""


@dataclass(frozen=True)
class ClipSampling:
    """Cutting of videos into clips and squares; part of every result, because other cuttings give other numbers.

    stride: frames from one 16-frame clip's start to the next one's (DisCo's folders: 1), or None: every video is one
    clip (DisCo's mp4 files), whatever its length. colour: grey level around pictures that are not square.
    """

    stride: int | None = CLIP_LENGTH
    colour: int = BLACK

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"the clip stride must be at least 1 or None, not {self.stride}")
        if not 0 <= self.colour <= 255:
            raise ValueError(f"the padding's colour must be a grey level from 0 to 255, not {self.colour}")


@dataclass(frozen=True)
class MetricSettings:
    """Settings that scores depend on in addition to the videos; part of every result.

    first_frame: frames before it are left out of all metrics (1: the one that shows the reference itself).
    """

    cutting: ClipSampling = field(default_factory=ClipSampling)
    first_frame: int = 0

    def __post_init__(self) -> None:
        if self.first_frame < 0:
            raise ValueError(f"the first frame must be 0 or more, not {self.first_frame}")


DEFAULT_SETTINGS = MetricSettings()


@dataclass(frozen=True)
class Figure:
    """A mean over `count` values: frames, changes between frames, boxes or faces."""

    value: float
    count: int


Figures = dict[str, Figure]


def mean_figure(values: NDArray[Any]) -> Figure:
    """The mean of values [N] and their number."""
    return Figure(float(values.mean()), len(values))


class Features(NamedTuple):
    """Rows to be compared over all videos together: float [N, d] of the generated and [M, d] of the true one."""

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
        """The pair without the frames before `first`. Raises ValueError when none are left."""
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
class MetricInput:
    """A video pair as metrics take it.

    whole: all frames; counted: without those before the settings' first frame. true_features: rows of the true video by
    the name of a distance, as far as they are known.
    """

    whole: VideoPair
    counted: VideoPair
    settings: MetricSettings = DEFAULT_SETTINGS
    true_features: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class VideoScores:
    """All scores of one video.

    figures: by name; features: by the key of their distance; left_out: reasons by name of metrics that are absent.
    """

    name: str
    num_frames: int
    figures: Mapping[str, Figure]
    features: Mapping[str, Features] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """The values of the figures by name, as a table's row."""
        return {name: figure.value for name, figure in self.figures.items()}
