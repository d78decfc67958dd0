"""Records of preprocessing: clips, rejections, the result of one video; and their JSON form."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from hia.config.types import Split

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class Rejected(ValueError):
    """Error: a video or clip cannot be used. `reason` is a short code; the message gives the details.

    transient: another attempt may succeed (a full disk, a file without permission), so the next run tries again.
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason, self.transient = reason, transient


@checked_dataclass(config=STRICT, frozen=True, kw_only=True)
class Rejection:
    """A rejected video, or its part in [first_time, end_time) s, with the reason."""

    video: str
    reason: str
    message: str
    first_time: float | None = None
    end_time: float | None = None


@checked_dataclass(config=STRICT, frozen=True, kw_only=True)
class ClipInfo:
    """The manifest's entry of a clip.

    id: digest of the video's key and the segment. file: name in the store, with `bytes` and `sha256` of its content.
    video: name of the source. first_frame, end_frame: range of the source's frames, half open. first_time: s from the
    source's start, without pauses. num_frames, fps, width, height: of the clip as stored. crop: left, top, width,
    height in source pixels, may extend over the frame's edges. content: left, top, right, bottom of the part that is
    not padding, in clip pixels. upscale: clip pixels per source pixel. hands_seen, face_seen: shares of the frames with
    a box of a hand, of the face. filled: share of interpolated keypoints. keypoint_source: `sidecar` or `estimated`.
    sharpness: median raw sharpness, speed: 95th percentile of the length of the movement, both over hands and frames;
    None where no hand was measured. maps: names of further pictures of each frame.
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
    """The result of one video: its durable record in the store.

    key: digest of its content and the preprocessing. name, group, split: of the source, from the data set's layout.
    seconds: its whole length, 0 when it could not be read.
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
    """A worker's report on one video: its durable result, or else a transient rejection.

    seconds_by_step: time spent, for the benchmark and the summary.
    """

    name: str
    result: VideoResult | None
    transient: Rejection | None
    seconds_by_step: dict[str, float]


def to_json(record: Any) -> str:
    """A record as one line of JSON; equal records give equal text."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(kind: type, text: str | bytes, where: str) -> Any:
    """A record of class `kind` from JSON. Raises ValueError naming `where` (the file and line) and the key."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where} is damaged: {key or 'it'}: {first['msg']}") from None
