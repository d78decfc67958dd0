"""Statistics of a store: counts, hours, sharpness percentiles, rank correlation of hand speed and sharpness."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hia.conditions.blur import LEAST_SAMPLES, SharpnessScale, clip_ranks
from hia.data.store.clip import Clip
from hia.data.store.records import ClipInfo, Rejection
from hia.pose.keypoints import HANDS, SCORE_THRESHOLD


def store_statistics(clips: Iterable[Clip], rejected: Sequence[Rejection]) -> dict[str, Any]:
    """Statistics for the manifest's first line.

    videos, clips, frames, hours: of the whole store and by split. sharpness: percentiles p5, p75, p95 of log(1 + s)
    over the hands of the training split, None when it has fewer than 20 or they hardly differ; hands: their number.
    speed_sharpness_spearman: see the function. rejected: counts by reason.
    """
    infos, sharpnesses, speeds = [], [], []
    for clip in clips:
        infos.append(clip.info)
        if clip.info.split == "train":
            sharpnesses.append(clip.sharpness)
            speeds.append(hand_speed(clip.movement, clip.array("scores")))
    splits = {split: _counts([info for info in infos if info.split == split]) for split in ("train", "test")}
    hands = np.concatenate(sharpnesses) if sharpnesses else np.zeros((0, 2), np.float32)
    return {
        **_counts(infos),
        "by_split": splits,
        "hands": int((~np.isnan(hands)).sum()),
        "sharpness": _scale(hands),
        "speed_sharpness_spearman": speed_sharpness_spearman(speeds, sharpnesses),
        "rejected": dict(sorted(Counter(rejection.reason for rejection in rejected).items())),
    }


def hand_speed(movement: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of each hand's movement, float32 [N, 2]; NaN where it is unknown.

    movement [N, 2, 2]; scores [N, 133]. A movement is known if some keypoint of the hand is seen in both frames; the
    first frame's movement is a copy of the second's and counts as unknown.
    """
    seen = scores >= SCORE_THRESHOLD
    known = np.zeros(movement.shape[:2], bool)
    for side, hand in enumerate(HANDS):
        known[1:, side] = (seen[1:, hand] & seen[:-1, hand]).any(axis=1)
    return np.where(known, np.linalg.norm(movement, axis=-1), np.nan).astype(np.float32)


def speed_sharpness_spearman(
    speeds: Sequence[NDArray[np.float32]], sharpnesses: Sequence[NDArray[np.float32]]
) -> float | None:
    """Spearman's rank correlation of hand speed and sharpness, pooled within clips; each a list of [N, 2 hands].

    Ranks are taken within each clip, because sharpness cannot be compared between clips, centred, and correlated over
    all clips. None when both are known for fewer than 20 hands, or when one of them never varies.
    """
    pairs = [_centred_ranks(speed, sharp) for speed, sharp in zip(speeds, sharpnesses, strict=True)]
    ranks = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0))
    spread = np.sqrt((ranks**2).sum(axis=1).prod())
    if ranks.shape[1] < LEAST_SAMPLES or spread == 0:
        return None
    return float((ranks[0] * ranks[1]).sum() / spread)


def _centred_ranks(speed: NDArray[np.float32], sharpness: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks of speed and sharpness over the hands of one clip where both are known, with mean 0: [2, n], 1 per rank."""
    known = ~np.isnan(speed) & ~np.isnan(sharpness)
    if not known.any():
        return np.zeros((2, 0))
    ranks = np.stack([clip_ranks(values[known]) for values in (speed, sharpness)]).astype(np.float64) * known.sum()
    return ranks - ranks.mean(axis=1, keepdims=True)


def _counts(infos: Sequence[ClipInfo]) -> dict[str, Any]:
    return {
        "videos": len({info.video for info in infos}),
        "clips": len(infos),
        "frames": sum(info.num_frames for info in infos),
        "hours": round(sum(info.seconds for info in infos) / 3600, 6),
    }


def _scale(sharpness: NDArray[np.float32]) -> dict[str, float] | None:
    try:
        scale = SharpnessScale.from_samples(sharpness)
    except ValueError:
        return None
    return {"p5": scale.p5, "p75": scale.p75, "p95": scale.p95}
