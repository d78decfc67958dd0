"""What preprocessing yields: clips, rejections, and the result of one video; and their form as JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Split = Literal["train", "test"]


class Rejected(ValueError):
    """A video or clip that cannot be used: `reason` is a short code, the message says what was found.

    transient: another attempt may succeed (a full disk, a file without permission), so none is spared.
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason, self.transient = reason, transient


@checked_dataclass(config=STRICT, frozen=True, kw_only=True)
class Rejection:
    """A video, or the part of it in [first_time, end_time) s, that is not in the store, and why."""

    video: str
    reason: str
    message: str
    first_time: float | None = None
    end_time: float | None = None


@checked_dataclass(config=STRICT, frozen=True, kw_only=True)
class ClipInfo:
    """What the manifest tells of a clip without opening its file.

    id: made from the video's content, the preprocessing and the place in the video; file: its name in the store, with
    `bytes` and `sha256` of the content. video: name of the source; first_frame, end_frame: range of its frames;
    first_time: s from its start, pauses left out. num_frames, fps, width, height: of the clip as stored.
    crop: left, top, width, height in the source's pixels, which may reach over its edges; content: left, top, right,
    bottom of what is not padding, in the clip's pixels; upscale: clip pixels per source pixel.
    hands_seen, face_seen: shares of frames with a hand's, the face's box; filled: share of interpolated keypoints.
    keypoint_source: `sidecar` or `estimated`. sharpness, speed: the median raw sharpness and the 95th percentile of the
    length of the movement, over hands and frames; None where no hand was measured. maps: names of further pictures that
    it has of each frame.
    """

    id: str
    file: str
    bytes: int
    sha256: str
    video: str
    split: Split
    first_frame: int
    end_frame: int
    first_time: float
    num_frames: int
    fps: float
    width: int
    height: int
    crop: tuple[float, float, float, float]
    content: tuple[int, int, int, int]
    upscale: float
    hands_seen: float
    face_seen: float
    filled: float
    keypoint_source: Literal["sidecar", "estimated"]
    sharpness: float | None
    speed: float | None
    maps: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.num_frames / self.fps


@checked_dataclass(config=STRICT, frozen=True, kw_only=True)
class VideoResult:
    """All that became of one video: its durable record in the store.

    key: of its content and the preprocessing. name, group, split: of the source, as the importer found them. seconds:
    its whole length, 0 when it could not be read.
    """

    key: str
    name: str
    group: str
    split: Split | None
    seconds: float
    clips: tuple[ClipInfo, ...]
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of one video: its durable result, or why there is none that lasts.

    seconds_by_step: time spent, for the benchmark and the summary.
    """

    name: str
    result: VideoResult | None
    transient: Rejection | None
    seconds_by_step: dict[str, float]


def to_json(record: Any) -> str:
    """One line of JSON, the same for equal records."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(kind: type, text: str | bytes, where: str) -> Any:
    """A record of `kind` (ClipInfo, Rejection, VideoResult). Raises ValueError naming `where` and the key."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where} is damaged: {key or 'it'}: {first['msg']}") from None
