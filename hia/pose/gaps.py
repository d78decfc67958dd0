"""Filling short gaps in keypoints, where a detector lost a point for a few frames."""

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import SCORE_THRESHOLD


def fill_gaps(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], longest: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Interpolate each keypoint linearly over runs of at most `longest` frames in which it was not seen.

    keypoints [N, K, 2] px; scores [N, K]; seen is a score of 0.3 or more. A filled point gets the smaller score of
    the two seen ones that surround it. Longer runs, and those at the start and the end, stay as they are.
    Returns new keypoints and scores of the inputs' types, and filled bool [N, K]. Raises ValueError for other layouts
    and a negative `longest`.
    """
    if longest < 0:
        raise ValueError(f"the longest gap to fill must be 0 frames or more, not {longest}")
    if keypoints.ndim != 3 or keypoints.shape[2] != 2 or scores.shape != keypoints.shape[:2]:
        raise ValueError(
            f"keypoints and scores must be [N, K, 2] and [N, K], not {list(keypoints.shape)} and {list(scores.shape)}"
        )
    num_frames = len(scores)
    seen = scores >= SCORE_THRESHOLD
    frames = np.arange(num_frames)[:, None]
    before = np.maximum.accumulate(np.where(seen, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, frames, num_frames)[::-1], axis=0)[::-1]
    filled = ~seen & (before >= 0) & (after < num_frames) & (after - before - 1 <= longest)
    frame, point = np.nonzero(filled)
    start, end = before[filled], after[filled]
    share = ((frame - start) / (end - start))[:, None]
    filled_keypoints, filled_scores = keypoints.copy(), scores.copy()
    filled_keypoints[filled] = keypoints[start, point] * (1 - share) + keypoints[end, point] * share
    filled_scores[filled] = np.minimum(scores[start, point], scores[end, point])
    return filled_keypoints, filled_scores, filled
