"""Tracking of the main person of a clip: their keypoints in all frames, from a keypoint file or a pose estimator.

The main person is the one with the largest area, summed over the frames. Estimation works on a stream of frames, of
which it holds `detect_every` at most.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hia.images import Frame
from hia.pose.box_tracks import box_area, box_distance, boxes_of, choose_person, link_boxes, match_boxes
from hia.pose.estimators import PoseEstimator
from hia.pose.refinement import Boxes, absent_pose, estimate_segment

# Chooses the person among the boxes of a detection: from the number of the detection, its boxes [P, 4] and the person's
# last box [4] (None when lost) to the index of the person's box, None when there is none.
Choice = Callable[[int, Boxes, Boxes | None], int | None]

# Between frames in which people are detected, a track may miss so many of these.
PATIENCE = 2
# Below this share of the largest person's area, another person than the main one was followed.
RIGHT_SHARE = 0.99


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """One person in all N frames of a clip.

    keypoints float32 [N, 133, 2] px; scores float32 [N, 133], 0 where the person is absent; boxes float32 [N, 4],
    NaN where absent; others float32 [N]: the area of the largest other person as a share of this one's, 0 if there is
    none, NaN where this one is absent; share: this person's summed area as a share of that of the clip's largest:
    below 1 when it was not possible to follow the largest.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    boxes: Boxes
    others: NDArray[np.float32]
    share: float = 1.0

    @property
    def present(self) -> NDArray[np.bool_]:
        """True in the frames that show the person, bool [N]."""
        return ~np.isnan(self.boxes[:, 0])


def choose_from_people(
    people: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]],
) -> PersonTrack:
    """The main person among those of a keypoint file: keypoints [P, 133, 2] and scores [P, 133] of every frame.

    People with fewer than 6 points of score ≥ 0.3 in a frame count as absent. Raises NoPerson when all are, always.
    """
    boxes = [boxes_of(keypoints, scores) for keypoints, scores in people]
    there = [np.flatnonzero(~np.isnan(found[:, 0])) for found in boxes]
    main = choose_person(
        link_boxes([found[index] for found, index in zip(boxes, there, strict=True)]), len(people)
    ).main
    keypoints, scores, chosen = absent_pose(len(people))
    others = np.full(len(people), np.nan, np.float32)
    for frame, member in zip(main.frames.tolist(), main.members.tolist(), strict=True):
        present, person = boxes[frame][there[frame]], there[frame][member]
        keypoints[frame], scores[frame] = (part[person] for part in people[frame])
        chosen[frame] = present[member]
        others[frame] = _share_of_others(present[member], np.delete(present, member, axis=0))
    return PersonTrack(keypoints, scores, chosen, others)


def follow_person(
    frames: Iterable[Frame], estimator: PoseEstimator, *, detect_every: int = 8, least_overlap: float = 0.3
) -> PersonTrack:
    """The main person of a clip, followed through its frames, RGB uint8 [H, W, 3].

    People are detected in every `detect_every`-th frame and the last one; in between, boxes are interpolated, and the
    poses estimated in one batch. If the detector misses the person, the last keypoints' box is kept as long as poses in
    it are good. A pose that is poor, or reaches the edge of the model's view, is estimated once more, in a box around
    the keypoints before and after.

    Frames are read once and not kept. So the person followed is the one who is the largest at first. If another turns
    out to be larger over the clip, the frames are read again and that one is followed, provided that `frames` can be
    iterated again (a list, or an object that opens the video anew; no generator). Else `share` in the result is below
    1. Raises NoPerson when nobody is detected, ValueError for no frames.
    """
    if detect_every < 1:
        raise ValueError(f"people must be detected every 1 or more frames, not {detect_every}")
    detections: list[Boxes] = []

    def detect(frame: Frame) -> Boxes:
        detections.append(estimator.detect(frame)[:, :4])
        return detections[-1]

    chosen = _Continuity(least_overlap)
    track = _follow(frames, estimator, detect_every, detect, chosen.choose)
    main = choose_person(link_boxes(detections, least_overlap, PATIENCE), len(detections)).main
    share = chosen.area / float(box_area(main.boxes).sum())
    if share >= RIGHT_SHARE or iter(frames) is frames:
        return replace(track, share=min(share, 1.0))
    known = iter(detections)
    members = dict(zip(main.frames.tolist(), main.members.tolist(), strict=True))
    return _follow(frames, estimator, detect_every, lambda _: next(known), lambda number, *_: members.get(number))


class _Continuity:
    """Chooses, among the people detected, the one who continues the person followed so far; at first the largest."""

    def __init__(self, least_overlap: float) -> None:
        self.least_overlap = least_overlap
        self.area = 0.0
        self._person: Boxes | None = None
        self._others = np.zeros((0, 4), np.float32)

    def choose(self, _: int, found: Boxes, last: Boxes | None) -> int | None:
        """See `Choice`."""
        self._person = self._person if last is None else last
        member = self._member(found)
        if member is not None:
            self.area += float(box_area(found[member]))
            self._person = found[member]
        self._others = found if member is None else np.delete(found, member, axis=0)
        return member

    def _member(self, found: Boxes) -> int | None:
        if len(found) == 0:
            return None
        if self._person is None:
            return int(np.argmax(box_area(found)))
        pairs = match_boxes(np.concatenate([self._person[None], self._others]), found, self.least_overlap)
        if 0 in pairs:
            return pairs[0]
        taken = pairs.values()
        distances = [np.inf if at in taken else box_distance(self._person, box) for at, box in enumerate(found)]
        return int(np.argmin(distances)) if min(distances) < np.inf else None


def _follow(
    frames: Iterable[Frame],
    estimator: PoseEstimator,
    detect_every: int,
    detect: Callable[[Frame], Boxes],
    choose: Choice,
) -> PersonTrack:
    """One pass over the frames."""
    parts: list[tuple[NDArray[np.float32], ...]] = []
    last: Boxes | None = None
    for number, segment in enumerate(_segments(frames, detect_every)):
        found = detect(segment[-1])
        member = choose(number, found, last)
        now = None if member is None else found[member]
        keypoints, scores, boxes = estimate_segment(estimator, segment, last, now)
        last = _last_box(keypoints, scores, boxes) if now is None else now
        others = np.full(len(segment), np.nan, np.float32)
        if last is not None:
            others[-1] = _share_of_others(last, found if member is None else np.delete(found, member, axis=0))
        parts.append((keypoints, scores, boxes, others))
    if not parts:
        raise ValueError("the clip has no frames")
    keypoints, scores, boxes, others = map(np.concatenate, zip(*parts, strict=True))
    return PersonTrack(keypoints, scores, boxes, _interpolated(others, ~np.isnan(boxes[:, 0])))


def _segments(frames: Iterable[Frame], length: int) -> Iterator[list[Frame]]:
    """Segments of the clip: the first frame, then `length` frames at a time, fewer in the end.

    People are detected in the last frame of each. All are the same list, emptied before the next segment.
    """
    waiting: list[Frame] = []
    for index, frame in enumerate(frames):
        waiting.append(frame)
        if index % length == 0:
            yield waiting
            waiting.clear()
    if waiting:
        yield waiting


def _last_box(keypoints: NDArray[np.float32], scores: NDArray[np.float32], boxes: Boxes) -> Boxes | None:
    """The box of a person without a detection after a segment: around the last keypoints; None when lost."""
    around = boxes_of(keypoints[-1:], scores[-1:])[0]
    return None if np.isnan(boxes[-1, 0]) or np.isnan(around[0]) else around


def _share_of_others(person: Boxes, others: Boxes) -> float:
    """The largest area of others [P, 4] as a share of the person's."""
    return float(box_area(others).max(initial=0) / max(box_area(person), 1e-9))


def _interpolated(values: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values [N] that are known in some frames and NaN in others, interpolated; NaN where the person is absent."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        return values
    filled = np.interp(np.arange(len(values)), known, values[known])
    return np.where(present, filled, np.nan).astype(np.float32)
