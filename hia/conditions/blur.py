"""The motion blur condition: movement and sharpness of the hands (paper sec. 3.2, appendix A.4)."""

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hia.conditions.regions import hand_boxes
from hia.pose.keypoints import HANDS, NUM_KEYPOINTS, SCORE_THRESHOLD

# Movement is measured per frame of a video with this rate, and saturates at this share of the frame's size.
REFERENCE_FPS = 30
LARGEST_MOVEMENT = 0.25

# Hand crops are compared at this size.
SHARPNESS_SIDE = 128
# Percentiles of fewer samples than this are of little use.
LEAST_SAMPLES = 20


def hand_movement(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int, fps: float
) -> NDArray[np.float32]:
    """Movement v of each hand from the frame before, float32 [N, 2 hands, 2] in [−1, 1] (sec. 3.2).

    keypoints [N, 133, 2] px of consecutive frames; scores [N, 133]. The mean over keypoints with score 0.3 or more
    in both frames, divided by (width, height), times fps / 30, clipped to ±0.25 and divided by 0.25. The first frame
    gets the second's; a hand without such keypoints, and a single frame, get 0.
    Raises ValueError for other layouts and for a width, height or fps that is not positive.
    """
    _check_video(keypoints, scores, width, height, fps)
    steps = np.diff(keypoints.astype(np.float64), axis=0)
    seen = (scores[1:] >= SCORE_THRESHOLD) & (scores[:-1] >= SCORE_THRESHOLD)
    mean_steps = np.stack([_mean_step(steps[:, hand], seen[:, hand]) for hand in HANDS], axis=1)
    shares = mean_steps / (width, height) * (fps / REFERENCE_FPS)
    movement = np.clip(shares, -LARGEST_MOVEMENT, LARGEST_MOVEMENT) / LARGEST_MOVEMENT
    first = movement[:1] if len(movement) else np.zeros((1, 2, 2))
    return np.concatenate([first, movement]).astype(np.float32)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the 3×3 Laplacian of the grey crop at 128×128 px, on 0–255 (sec. 3.2).

    crop: RGB uint8 [h, w, 3] of any size, resized by pixel areas when larger and linearly when smaller.
    Raises ValueError for other layouts and empty crops.
    """
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or crop.size == 0:
        raise ValueError(f"crop must be uint8 [h, w, 3] and not empty, not {crop.dtype} {list(crop.shape)}")
    # In float: rounding to whole grey levels would be noise larger than the score of a blurred hand.
    grey = cv2.cvtColor(crop.astype(np.float32), cv2.COLOR_RGB2GRAY)
    interpolation = cv2.INTER_AREA if min(crop.shape[:2]) >= SHARPNESS_SIDE else cv2.INTER_LINEAR
    resized = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=interpolation)
    laplacian = cv2.Laplacian(resized.astype(np.float64), cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
    return float(laplacian.var())


def hand_sharpness(
    frame: NDArray[np.uint8], keypoints: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Raw sharpness s of the left and the right hand's box, float32 [2]; NaN for a hand without a box.

    frame: RGB uint8 [H, W, 3]; keypoints [133, 2] px; scores [133].
    """
    height, width = frame.shape[:2]
    boxes = hand_boxes(keypoints, scores, width, height)
    return np.array(
        [np.nan if box is None else sharpness(frame[box.top : box.bottom, box.left : box.right]) for box in boxes],
        np.float32,
    )


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class SharpnessScale:
    """Percentiles 5, 75 and 95 of log(1 + s) over the hands of a training set; they travel with the model.

    Raises ValueError when they are not finite or not in order.
    """

    p5: float
    p75: float
    p95: float

    def __post_init__(self) -> None:
        if not (self.p5 <= self.p75 <= self.p95 and self.p5 < self.p95):
            raise ValueError(f"percentiles must rise from p5 to p95, not {self.p5}, {self.p75}, {self.p95}")

    @classmethod
    def from_samples(cls, raw: NDArray[np.floating]) -> "SharpnessScale":
        """The percentiles of raw sharpness of any shape; NaN (no hand) is ignored.

        Raises ValueError with fewer than 20 hands, and when hardly any differ.
        """
        samples = raw[~np.isnan(raw)].astype(np.float64)
        if len(samples) < LEAST_SAMPLES:
            raise ValueError(
                f"sharpness percentiles need at least {LEAST_SAMPLES} hands, but only {len(samples)} were found: "
                "use more clips, or clips that show hands"
            )
        return cls(*np.percentile(np.log1p(samples), [5, 75, 95]).tolist())

    @property
    def default(self) -> float:
        """The normalised P75: the value to use when no video gives the sharpness."""
        return (self.p75 - self.p5) / (self.p95 - self.p5)

    def normalise(self, raw: NDArray[np.floating]) -> NDArray[np.float32]:
        """clip((log(1 + s) − p5) / (p95 − p5), 0, 1) of raw sharpness s, float32 in its shape; NaN stays NaN."""
        scaled = (np.log1p(np.asarray(raw, np.float64)) - self.p5) / (self.p95 - self.p5)
        return np.clip(scaled, 0, 1).astype(np.float32)


def clip_ranks(raw: NDArray[np.floating]) -> NDArray[np.float32]:
    """Ranks of raw sharpness [N, 2] within one clip, over both hands, spread over [0, 1]: the scale `clip`.

    Equal values get the mean of their ranks, a single value 0.5; NaN stays NaN.
    """
    ranks = np.full(raw.shape, np.nan, np.float32)
    known = ~np.isnan(raw)
    values = raw[known]
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    # Rank counted from 0, ties averaged: (below + not_above − 1) / 2.
    ranks[known] = (below + not_above - 1) / (2 * (len(values) - 1)) if len(values) > 1 else 0.5
    return ranks


def _mean_step(steps: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the seen keypoints, 0 if there are none.   steps [N − 1, K, 2]; seen [N − 1, K]; out [N − 1, 2]."""
    total = np.where(seen[..., None], steps, 0).sum(axis=1)
    return total / np.maximum(seen.sum(axis=1), 1)[:, None]


def _check_video(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int, height: int, fps: float
) -> None:
    layout_is_right = keypoints.ndim == 3 and keypoints.shape[1:] == (NUM_KEYPOINTS, 2) and len(keypoints) > 0
    if not layout_is_right or scores.shape != keypoints.shape[:2]:
        raise ValueError(
            f"keypoints and scores must be [N, {NUM_KEYPOINTS}, 2] and [N, {NUM_KEYPOINTS}], "
            f"not {list(keypoints.shape)} and {list(scores.shape)}"
        )
    if min(width, height) <= 0 or not fps > 0:
        raise ValueError(f"width, height and fps must be positive, not {width}, {height} and {fps}")
