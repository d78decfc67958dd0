"""Processing of the segments of one video: track, plan, clip or rejection.

The video is decoded once for the pose estimates and once for the clips, a few frames at a time, and tracks are kept on
disk in between: memory does not grow with the video's length. A run that was killed resumes after the last segment in
the journal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from hia.conditions.regions import Box
from hia.config import PreprocessConfig
from hia.data.preprocess.annotations import Arrays, map_arrays, measure_frames, measure_keypoints
from hia.data.preprocess.encoders import Encoders
from hia.data.preprocess.filters import ClipPlan, check_length, check_regions, plan_clip, seen_shares
from hia.data.preprocess.person import Sidecar, estimate_track
from hia.data.preprocess.shots import Survey
from hia.data.preprocess.timer import Timer
from hia.data.store.clip import serialise_clip
from hia.data.store.journal import Journal
from hia.data.store.records import ClipInfo, Rejected, Rejection
from hia.data.store.statistics import hand_speed
from hia.images import Frame
from hia.io.hashing import bytes_sha256, key_digest
from hia.pose.estimators import PoseEstimator
from hia.pose.tracking import PersonTrack
from hia.video import frames_at


@dataclass(frozen=True)
class SegmentProcessor:
    """A processor of the segments of one surveyed video, which makes its clips.

    key, name, path: of the video. sidecar: its keypoints, None to estimate them. maps: paths of further pictures of its
    frames, by name. size: of the clips, (width, height) px.
    """

    key: str
    name: str
    path: Path
    survey: Survey
    sidecar: Sidecar | None
    maps: Mapping[str, Path]
    settings: PreprocessConfig
    size: tuple[int, int]
    journal: Journal
    encoders: Encoders
    estimator: Callable[[], PoseEstimator]
    timer: Timer

    def run(self) -> list[ClipInfo | Rejection]:
        """Process the segments that the journal lacks. Returns a clip or rejection per segment, in order."""
        parts = {segment: self.journal.part(self.key, segment) for segment in self.survey.segments}
        unfinished = [segment for segment, part in parts.items() if part is None]
        long_enough = [segment for segment in unfinished if self._accepts(segment, self._check_length)]
        tracked = self._tracked(long_enough)
        accepted = [segment for segment in tracked if self._accepts(segment, self._plan)]
        made = dict(zip(accepted, self._make_clips(accepted), strict=True))
        noted = [part or made.get(segment) or self.journal.part(self.key, segment) for segment, part in parts.items()]
        return [part for part in noted if part is not None]

    def _accepts(self, segment: range, judge: Callable[[range], object]) -> bool:
        """True if `judge` does not raise Rejected; if it does, note the rejection."""
        try:
            judge(segment)
        except Rejected as error:
            rejection = Rejection(
                video=self.name,
                reason=error.reason,
                message=str(error),
                first_time=round(segment.start / self.survey.fps, 3),
                end_time=round(segment.stop / self.survey.fps, 3),
            )
            self.journal.note_part(self.key, segment, rejection)
            return False
        return True

    def _check_length(self, segment: range) -> None:
        check_length(len(segment), self.survey.fps, self.settings)

    def _tracked(self, segments: Sequence[range]) -> list[range]:
        """The segments with a person. Estimated tracks are now in the journal; a sidecar's are read when needed."""
        if self.sidecar is not None:
            return list(segments)
        missing = {segment for segment in segments if self.journal.track(self.key, segment) is None}
        estimate = partial(self._estimate, self._frames([segment for segment in segments if segment in missing]))
        return [segment for segment in segments if segment not in missing or self._accepts(segment, estimate)]

    def _estimate(self, frames: Iterator[Frame], segment: range) -> None:
        """Estimate and note the track of a segment, whose frames are the next ones. Raises Rejected (nobody)."""
        replayable = ReplayableFrames(islice(frames, len(segment)), partial(self._frames, [segment]))
        with self.timer("pose"):
            track = estimate_track(replayable, self.estimator(), self.settings.pose.detect_every)
        self.journal.note_track(self.key, segment, track)

    def _plan(self, segment: range) -> tuple[ClipPlan, Arrays]:
        """The plan of a segment's clip, and the arrays measured from its keypoints. Raises Rejected."""
        with self.timer("plan"):
            plan = plan_clip(
                self._track(segment), self.survey.fps, (self.survey.width, self.survey.height), self.size, self.settings
            )
            arrays = measure_keypoints(plan.keypoints, plan.filled, Box(*plan.crop.content))
            check_regions(arrays["hand_boxes"], arrays["face_boxes"], self.settings)
        return plan, arrays

    def _track(self, segment: range) -> PersonTrack:
        if self.sidecar is not None:
            return self.sidecar.track(self.survey.indices[segment.start : segment.stop])
        track = self.journal.track(self.key, segment)
        assert track is not None, "estimated before"
        return track

    def _make_clips(self, segments: Sequence[range]) -> Iterator[ClipInfo]:
        frames = self._frames(segments)
        maps = {name: self._frames(segments, path) for name, path in self.maps.items()}
        for segment in segments:
            map_frames = {name: islice(pictures, len(segment)) for name, pictures in maps.items()}
            clip = self._make_clip(segment, islice(frames, len(segment)), map_frames)
            self.journal.note_part(self.key, segment, clip)
            yield clip

    def _frames(self, segments: Sequence[range], path: Path | None = None) -> Iterator[Frame]:
        """The frames of several segments, one after another; path: of a map, instead of the video."""
        indices = (int(self.survey.indices[instant]) for segment in segments for instant in segment)
        return self.timer.each("decode", frames_at(path or self.path, indices))

    def _make_clip(self, segment: range, frames: Iterator[Frame], maps: Mapping[str, Iterator[Frame]]) -> ClipInfo:
        plan, arrays = self._plan(segment)
        encoder = self.encoders.begin(arrays["five_points"], arrays["face_usable"])
        cropped = self.timer.each("crop", map(plan.crop.apply, frames))
        encoded = self.timer.each("encode", encoder.tee(cropped))
        with self.timer("measure"):
            arrays |= measure_frames(encoded, arrays["hand_boxes"], self.settings.jpeg_quality)
        with self.timer("measure"):
            for name, pictures in maps.items():
                arrays |= map_arrays(name, pictures, plan.crop, self.settings.jpeg_quality)
        with self.timer("encode"):
            arrays |= encoder.finish()
        with self.timer("write"):
            return self._store(segment, plan, arrays)

    def _store(self, segment: range, plan: ClipPlan, arrays: Arrays) -> ClipInfo:
        """Write a clip's file and return its entry for the manifest. Raises WriteError."""
        clip_id = key_digest(self.key, segment.start, segment.stop)[:32]
        content = serialise_clip(clip_id, arrays)
        info = self._info(clip_id, content, segment, plan, arrays)
        self.journal.folder.write(info.file, content)
        return info

    def _info(self, clip_id: str, content: bytes, segment: range, plan: ClipPlan, arrays: Arrays) -> ClipInfo:
        hands_seen, face_seen = seen_shares(arrays["hand_boxes"], arrays["face_boxes"])
        crop, indices = plan.crop, self.survey.indices
        return ClipInfo(
            id=clip_id,
            file=f"clips/{clip_id[:2]}/{clip_id}.safetensors",
            bytes=len(content),
            sha256=bytes_sha256(content),
            video=self.name,
            split="train",
            first_frame=int(indices[segment.start]),
            end_frame=int(indices[segment.stop - 1]) + 1,
            first_time=round(segment.start / self.survey.fps, 6),
            num_frames=len(segment),
            fps=self.survey.fps,
            width=self.size[0],
            height=self.size[1],
            crop=(crop.left, crop.top, crop.width, crop.height),
            content=crop.content,
            upscale=round(crop.upscale, 6),
            hands_seen=round(hands_seen, 6),
            face_seen=round(face_seen, 6),
            filled=round(float(plan.filled.mean()), 6),
            keypoint_source="estimated" if self.sidecar is None else "sidecar",
            sharpness=_rounded(arrays["sharpness"], 50),
            speed=_rounded(hand_speed(arrays["movement"], arrays["scores"]), 95),
            maps=tuple(sorted(self.maps)),
        )


class ReplayableFrames:
    """Frames for several iterations: the first reads a running stream, each later one decodes anew."""

    def __init__(self, stream: Iterator[Frame], anew: Callable[[], Iterator[Frame]]) -> None:
        self._stream: Iterator[Frame] | None = stream
        self._anew = anew

    def __iter__(self) -> Iterator[Frame]:
        stream, self._stream = self._stream, None
        return self._anew() if stream is None else stream


def _rounded(values: np.ndarray, percentile: float) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(np.percentile(known, percentile)), 6) if len(known) else None
