"""Two-pass pose estimation: one person in a few consecutive frames, poor poses estimated again in better boxes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hia.images import Frame
from hia.pose.box_tracks import boxes_of
from hia.pose.estimators import PoseEstimator
from hia.pose.keypoints import BODY, NUM_KEYPOINTS, SCORE_THRESHOLD

Boxes = NDArray[np.float32]
Pose = tuple[NDArray[np.float32], NDArray[np.float32], Boxes]

# A pose is poor when its best body points score less on average: half of all points, as of a person seen to the waist.
BEST_POINTS = 8
POOR_SCORE = 0.3
# A point this near to the edge of the pose model's view, in shares of its sides, may have its true place beyond.
EDGE = 0.02
# A good second estimate replaces the first unless its score falls below this share of the first's.
AS_GOOD = 0.95


def estimate_segment(
    estimator: PoseEstimator, frames: Sequence[Frame], before: Boxes | None, after: Boxes | None
) -> Pose:
    """Keypoints [n, 133, 2] px, scores [n, 133] and boxes [n, 4] of a person in n consecutive frames.

    before, after: the person's box [4] in the frame before the first, and in the last; None if the person was not
    found. With both, boxes are interpolated; with one of them, it is used in all frames, and in those whose pose is
    poor, the person is absent: score 0, box NaN. All poses are one batch; those that are poor or reach the edge of the
    model's view make another, in boxes around the keypoints of the frames before and after.
    """
    known = [box for box in (before, after) if box is not None]
    if not known:
        return absent_pose(len(frames))
    boxes = _interpolated(known[0], known[-1], len(frames))
    keypoints, scores = estimator.estimate(frames, boxes)
    second = _second_boxes(estimator, keypoints, scores, boxes, before)
    if second:
        _estimate_again(estimator, frames, second, keypoints, scores, boxes)
    # A detection proves that the person is in its frame; two of them, also in the frames between.
    detected = np.full(len(frames), len(known) == 2)
    detected[-1] = after is not None
    absent = (_body_scores(scores) < POOR_SCORE) & ~detected
    keypoints[absent], scores[absent], boxes[absent] = 0, 0, np.nan
    return keypoints, scores, boxes


def absent_pose(num_frames: int) -> Pose:
    """The result of `estimate_segment` for frames without the person."""
    keypoints = np.zeros((num_frames, NUM_KEYPOINTS, 2), np.float32)
    return keypoints, np.zeros((num_frames, NUM_KEYPOINTS), np.float32), np.full((num_frames, 4), np.nan, np.float32)


def _interpolated(before: Boxes, after: Boxes, num_frames: int) -> Boxes:
    """Interpolated boxes [n, 4]: from the one of the frame before the first to that of the last frame."""
    shares = np.arange(1, num_frames + 1, dtype=np.float32)[:, None] / num_frames
    return (before + shares * (after - before)).astype(np.float32)


def _estimate_again(
    estimator: PoseEstimator,
    frames: Sequence[Frame],
    second: dict[int, Boxes],
    keypoints: NDArray[np.float32],
    scores: NDArray[np.float32],
    boxes: Boxes,
) -> None:
    """Estimate the frames of `second` in their new boxes, and keep poses that are as good, in place."""
    indices, new_boxes = np.array(list(second)), np.stack(list(second.values()))
    new_keypoints, new_scores = estimator.estimate([frames[index] for index in second], new_boxes)
    as_good = _body_scores(new_scores) >= np.maximum(AS_GOOD * _body_scores(scores[indices]), POOR_SCORE)
    chosen = indices[as_good]
    keypoints[chosen], scores[chosen], boxes[chosen] = new_keypoints[as_good], new_scores[as_good], new_boxes[as_good]


def _second_boxes(
    estimator: PoseEstimator,
    keypoints: NDArray[np.float32],
    scores: NDArray[np.float32],
    boxes: Boxes,
    before: Boxes | None,
) -> dict[int, Boxes]:
    """Better boxes of poses that are poor or cut off, by index: around the nearest good keypoints in time.

    The box of a pose that is cut off also holds its own keypoints and first box.
    """
    poor = _body_scores(scores) < POOR_SCORE
    cut = _reach_edge(keypoints, scores, estimator.views(boxes))
    known = boxes_of(keypoints, scores)
    known[poor] = np.nan
    good = np.flatnonzero(~np.isnan(known[:, 0]))
    second: dict[int, Boxes] = {}
    for index in np.flatnonzero(poor | cut).tolist():
        around = [*known[good[good < index]][-1:], *known[good[good > index]][:1]]
        if before is not None and not (good < index).any():
            around.append(before)
        if cut[index]:
            around += [boxes[index], *known[good[good == index]]]
        if around:
            second[index] = np.concatenate([np.min(around, axis=0)[:2], np.max(around, axis=0)[2:]])
    return second


def _reach_edge(keypoints: NDArray[np.float32], scores: NDArray[np.float32], views: Boxes) -> NDArray[np.bool_]:
    """True for poses with a point of score ≥ 0.3 at an edge of the model's view, bool [n]."""
    low, high = views[:, None, :2], views[:, None, 2:]
    margin = EDGE * (high - low)
    touches = ((keypoints < low + margin) | (keypoints > high - margin)).any(axis=-1)
    return np.any(touches & (scores >= SCORE_THRESHOLD), axis=1)


def _body_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the best 8 body points' scores, [n]."""
    return np.sort(scores[:, BODY], axis=1)[:, -BEST_POINTS:].mean(axis=1)
