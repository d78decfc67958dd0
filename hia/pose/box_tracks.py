"""Boxes of people linked over frames into tracks, and the choice of a clip's main person.

Boxes are x1, y1, x2, y2 in px.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import SCORE_THRESHOLD

# The least number of keypoints that make a box; fewer say little about the place of a person.
LEAST_POINTS = 6
# Without overlap, boxes may be one person's when their centres lie at most this many times the side of a square of
# the larger one's area apart, and neither has more than so many times the other's area.
FARTHEST = 1.0
LARGEST_GROWTH = 3.0


class NoPerson(ValueError):
    """Error of a clip without people."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person's boxes: frames int [n] rising, boxes float32 [n, 4], members int [n] (which box of that frame)."""

    frames: NDArray[np.intp]
    boxes: NDArray[np.float32]
    members: NDArray[np.intp]

    def areas(self) -> NDArray[np.float64]:
        """Area in px² in every frame from the track's first to its last, between its boxes interpolated."""
        return np.interp(np.arange(self.frames[0], self.frames[-1] + 1), self.frames, box_area(self.boxes))


@dataclass(frozen=True, eq=False)
class People:
    """The main person of a clip, and all others."""

    main: Track
    others: tuple[Track, ...]


def box_area(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area in px² of boxes [..., 4], float64 [...]; NaN of NaN."""
    width, height = np.moveaxis(boxes[..., 2:].astype(np.float64) - boxes[..., :2], -1, 0)
    return np.maximum(width, 0) * np.maximum(height, 0)


def boxes_of(keypoints: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Boxes float32 [N, 4] of the keypoints [N, K, 2] of score [N, K] ≥ 0.3; NaN where fewer than 6 are seen."""
    seen = (scores >= SCORE_THRESHOLD)[..., None]
    low = np.where(seen, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    enough = seen.sum(axis=1) >= LEAST_POINTS
    return np.where(enough, np.concatenate([low, high], axis=1), np.nan).astype(np.float32)


def overlaps(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of boxes [a, 4] with boxes [b, 4], float64 [a, b]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    shared = box_area(np.concatenate([low, high], axis=-1))
    union = box_area(boxes[:, :4])[:, None] + box_area(others[:, :4])[None] - shared
    return shared / np.maximum(union, 1e-9)


def match_boxes(boxes: NDArray[np.floating], others: NDArray[np.floating], least_overlap: float) -> dict[int, int]:
    """Match boxes [a, 4] with the boxes [b, 4] that continue them: pairs by falling overlap, each box once.

    Returns the index of the other box by the index of the first.
    """
    overlap = overlaps(boxes, others)
    pairs: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable").tolist():
        one, other = divmod(flat, overlap.shape[1])
        if overlap[one, other] < least_overlap:
            break
        if one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def box_distance(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Distance between a person's last box [4] and a later one; infinite if that cannot be the same person.

    Between the centres, in sides of a square of the larger box's area.
    """
    small, large = sorted((float(box_area(before)), float(box_area(after))))
    if small <= 0 or large > LARGEST_GROWTH * small:
        return np.inf
    centres = [(box[:2] + box[2:4]) / 2 for box in (before.astype(np.float64), after.astype(np.float64))]
    apart = float(np.linalg.norm(centres[1] - centres[0])) / large**0.5
    return apart if apart <= FARTHEST else np.inf


def link_boxes(boxes: Sequence[NDArray[np.floating]], least_overlap: float = 0.3, patience: int = 15) -> list[Track]:
    """Tracks of the people in boxes [p, 4] of each frame, in the order of their first boxes.

    From frame to frame, boxes are matched by overlap (intersection over union), the best first. A track without a
    matching box keeps its last one during `patience` frames.
    """
    finished: list[list[tuple[int, int]]] = []
    alive: list[list[tuple[int, int]]] = []
    for frame, found in enumerate(boxes):
        finished += [steps for steps in alive if frame - steps[-1][0] > patience + 1]
        alive = [steps for steps in alive if frame - steps[-1][0] <= patience + 1]
        last = np.array([boxes[at][member][:4] for at, member in (steps[-1] for steps in alive)]).reshape(-1, 4)
        pairs = match_boxes(last, np.asarray(found).reshape(len(found), -1), least_overlap) if len(found) else {}
        for one, member in pairs.items():
            alive[one].append((frame, member))
        alive += [[(frame, member)] for member in range(len(found)) if member not in pairs.values()]
    return [_track(boxes, steps) for steps in sorted(finished + alive)]


def choose_person(tracks: Sequence[Track], num_frames: int) -> People:
    """The main person: the one with the largest area, summed over the frames of the clip.

    Tracks that follow each other in time, at a place and a size that one person could have, are pieces of one person
    and are joined first. Raises NoPerson when there are no tracks, ValueError for one that reaches beyond the clip.
    """
    if not tracks:
        raise NoPerson(f"nobody was found in {num_frames} frames")
    if (beyond := max(int(track.frames[-1]) for track in tracks)) >= num_frames:
        raise ValueError(f"a track reaches frame {beyond} of a clip of {num_frames} frames")
    people = _joined(tracks)
    sums = [sum(piece.areas().sum() for piece in pieces) for pieces in people]
    main = int(np.argmax(sums))
    whole = [_concatenated(pieces) for pieces in people]
    return People(whole[main], tuple(whole[:main] + whole[main + 1 :]))


def _joined(tracks: Sequence[Track]) -> list[list[Track]]:
    """The pieces of each person, in order of time. Each track joins the nearest person who was lost before it."""
    people: list[list[Track]] = []
    for track in sorted(tracks, key=lambda track: int(track.frames[0])):
        lost = [pieces for pieces in people if pieces[-1].frames[-1] < track.frames[0]]
        distances = [box_distance(pieces[-1].boxes[-1], track.boxes[0]) for pieces in lost]
        if distances and min(distances) < np.inf:
            lost[int(np.argmin(distances))].append(track)
        else:
            people.append([track])
    return people


def _concatenated(pieces: Sequence[Track]) -> Track:
    frames, boxes, members = ([getattr(piece, name) for piece in pieces] for name in ("frames", "boxes", "members"))
    return Track(np.concatenate(frames), np.concatenate(boxes), np.concatenate(members))


def _track(boxes: Sequence[NDArray[np.floating]], steps: Sequence[tuple[int, int]]) -> Track:
    frames, members = np.array(steps).T
    return Track(frames, np.array([boxes[frame][member][:4] for frame, member in steps], np.float32), members)
