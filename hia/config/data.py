"""Settings of keypoints, preprocessing and training samples."""

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hia.config.types import STRICT, PathOrName

Share = Annotated[float, Field(ge=0, le=1)]
Layout = Literal["auto", "plain", "tiktok", "ubc"]
MapName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PoseConfig:
    """Source of the keypoints (paper A.4).

    source: `sidecar` files beside the videos, `estimate`, or `auto`: a sidecar where there is one. detector, pose,
    feet: .onnx files (YOLOX; RTMPose and DWPose with 133 points), else rtmlib downloads those of `mode` on first use.
    The detector looks at every `detect_every`-th frame; pose is estimated in batches between those.
    """

    source: Literal["auto", "sidecar", "estimate"] = "auto"
    detector: PathOrName = None
    pose: PathOrName = None
    feet: PathOrName = None
    mode: Literal["performance", "balanced", "lightweight"] = "performance"
    detect_every: PositiveInt = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PreprocessConfig:
    """Preprocessing: raw videos to the clip store.

    fps: constant rate of all clips; None keeps each video's own, divided by a whole number where it is above
    `highest_fps`. Videos slower than `lowest_fps` are rejected.
    shot_threshold: change of content (0–255, PySceneDetect) that is a cut.
    least_seconds, longest_seconds: shorter shots are rejected, longer ones divided evenly.
    person_seen, hands_seen, face_seen: shares of a clip's frames with the person, a hand, the face, at least; clips
    without a face serve all training except the identity loss.
    others_at_most: a second person is tolerated up to this share of the first one's area.
    longest_gap_seconds: keypoints missing for at most that long are interpolated.
    crop_margin: added on each side of the person's extent, as a share of it. largest_upscale: clips that would be
    enlarged more are rejected; most_padding: so are those where more than this share lies outside the frame.
    jpeg_quality: of the frames in the store.
    face_embedding_every: frames from one face embedding to the next; 0 computes none. image_tokens: of the CLIP image
    encoder, when the preset has one. latents: also keep latents at the sizes that
    the training stages need, and those of the mirrored frames if samples are mirrored.
    maps: further pictures of each frame, such as depth: of `clip.mp4` they are in `clip.depth.mp4` or in images in the
    folder `clip.depth`; those that are there are cropped and kept like the frames.
    test_share: share of videos that are kept for testing, drawn by `split_seed` and the video's name; test_list: a file
    that names them instead.
    """

    fps: Annotated[float, Field(ge=1, le=240)] | None = None
    highest_fps: PositiveFloat = 30.0
    lowest_fps: PositiveFloat = 10.0
    shot_threshold: PositiveFloat = 27.0
    least_seconds: PositiveFloat = 1.0
    longest_seconds: PositiveFloat = 20.0
    person_seen: Share = 0.9
    hands_seen: Share = 0.3
    face_seen: Share = 0.0
    others_at_most: Share = 0.25
    longest_gap_seconds: float = 0.2
    crop_margin: Share = 0.1
    largest_upscale: PositiveFloat = 2.5
    most_padding: Share = 0.6
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95
    face_embedding_every: Annotated[int, Field(ge=0)] = 10
    image_tokens: bool = True
    latents: bool = False
    maps: tuple[MapName, ...] = ("depth", "normals", "segmentation")
    layout: Layout = "auto"
    split_seed: int = 0
    test_share: Share = 0.0
    test_list: PathOrName = None
    pose: PoseConfig = PoseConfig()

    def __post_init__(self) -> None:
        if self.lowest_fps > self.highest_fps:
            raise ValueError(f"lowest_fps {self.lowest_fps} is above highest_fps {self.highest_fps}")
        if self.least_seconds > self.longest_seconds:
            raise ValueError(f"least_seconds {self.least_seconds} is above longest_seconds {self.longest_seconds}")
        if self.most_padding == 1:
            raise ValueError("most_padding must be below 1: a clip must show something")
        if not 0 <= self.longest_gap_seconds < math.inf:
            raise ValueError(f"longest_gap_seconds must be at least 0, not {self.longest_gap_seconds}")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SamplesConfig:
    """Drawing of training samples from clips.

    flip_probability: share of mirrored samples (paper A.4). reference_distance_seconds: least time between reference
    and target of an image pair, where the clip is long enough. samples_per_second: samples of a clip in an
    epoch, per second of its length (at least once). workers: processes that read ahead, per training process.
    """

    flip_probability: Share = 0.5
    reference_distance_seconds: Annotated[float, Field(ge=0)] = 1.0
    samples_per_second: PositiveFloat = 1.0
    workers: Annotated[int, Field(ge=0)] = 2

    @property
    def mirrors(self) -> bool:
        """True if samples are mirrored: the latents of mirrored frames are kept too, which doubles that work."""
        return self.flip_probability > 0
