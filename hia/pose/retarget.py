"""Retargeting: fit one person's skeleton to the place and proportions of another, to drive the other's picture.

The skeleton is a tree. The bone from a point to its parent keeps its direction in every frame, and its length is
scaled with the ratio of the two persons' lengths for that kind of bone.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.pose.keypoints import FACE, HANDS, JOINTS, NECK, NUM_KEYPOINTS, SCORE_THRESHOLD, KeypointSequence

# The middle of the hips, which COCO-WholeBody lacks too, follows the neck.
MID_HIP = NECK + 1
SHOULDERS, HIPS = ([JOINTS[f"{side}_{joint}"] for side in ("left", "right")] for joint in ("shoulder", "hip"))

# The percentile that stands for the longest that a limb is seen, without outliers.
LONG_PERCENTILE = 95
# The factor by which a ratio may deviate from the whole person's; beyond it, the limb is foreshortened.
LARGEST_DEVIATION = 1.5
# Roots of the fingers: fingers bend, so a hand's size is that of its palm.
PALM = (5, 9, 13, 17)
# The bones whose ratios give the scale of the whole person.
LIMBS = ("torso", "shoulder", "upper_arm", "forearm", "pelvis", "thigh", "shin", "head")


class Bone(NamedTuple):
    """A point and its parent. Bones of one kind share a ratio of lengths, from those of them that are `measured`."""

    child: int
    parent: int
    kind: str
    measured: bool = True


class Skeleton(NamedTuple):
    """points float64 [N, 135, 2] px and seen bool [N, 135]: the 133 keypoints, the neck and the middle of the hips."""

    points: NDArray[np.float64]
    seen: NDArray[np.bool_]


def align_to_reference(
    driving: KeypointSequence,
    reference_keypoints: NDArray[np.floating],
    reference_scores: NDArray[np.floating],
    reference_width: int,
    reference_height: int,
) -> KeypointSequence:
    """The driving motion with the reference person's place and limb lengths, in the reference's pixels.

    reference_keypoints [133, 2] px; reference_scores [133]. The root (the middle of the hips, or the neck if the hips
    are not seen) starts at the reference's and moves as the driving one, times the overall scale: the median
    ratio of limb lengths. Left and right share a ratio; kinds of bones that one of the two never shows take the
    overall scale. The face is scaled about the nose, hands about wrists, feet about ankles. Scores stay.

    Raises ValueError when the reference, or half of the driving frames, show neither both hips nor both shoulders.
    """
    reference = KeypointSequence(
        reference_keypoints[None], reference_scores[None], reference_width, reference_height, driving.fps
    )
    source, target = _skeleton(driving), _skeleton(reference)
    root = _common_root(source, target)
    bones = _tree(root)
    scales, overall = _scales(bones, source, target)
    start = target.points[0, root]
    moved = _rebuilt(source, root, start, bones, scales, overall)
    keypoints = moved[:, :NUM_KEYPOINTS].astype(np.float32)
    return replace(driving, keypoints=keypoints, width=reference_width, height=reference_height)


def _skeleton(sequence: KeypointSequence) -> Skeleton:
    points, seen = sequence.keypoints.astype(np.float64), sequence.scores >= SCORE_THRESHOLD
    middles = np.stack([points[:, pair].mean(axis=1) for pair in (SHOULDERS, HIPS)], axis=1)
    middles_seen = np.stack([seen[:, pair].all(axis=1) for pair in (SHOULDERS, HIPS)], axis=1)
    return Skeleton(np.concatenate([points, middles], axis=1), np.concatenate([seen, middles_seen], axis=1))


def _common_root(source: Skeleton, target: Skeleton) -> int:
    for root in (MID_HIP, NECK):
        if target.seen[0, root] and source.seen[:, root].mean() >= 0.5:
            return root
    parts = ("shoulders", NECK), ("hips", MID_HIP)
    shown = [f"both {part} in {source.seen[:, point].mean():.0%} of the frames" for part, point in parts]
    visible = [f"both {part}" for part, point in parts if target.seen[0, point]]
    raise ValueError(
        f"cannot fit the driving person to the reference: both must show both hips or both shoulders. The driving "
        f"video shows {' and '.join(shown)} (half are needed); the reference shows {' and '.join(visible) or 'neither'}"
    )


def _tree(root: int) -> list[Bone]:
    """All bones, parents before children."""
    bones = [Bone(NECK, MID_HIP, "torso") if root == MID_HIP else Bone(MID_HIP, NECK, "torso")]
    bones.append(Bone(JOINTS["nose"], NECK, "head"))
    for side, hand in zip(("left", "right"), HANDS, strict=True):
        shoulder, elbow, wrist, hip, knee, ankle = (
            JOINTS[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        )
        bones += [
            Bone(shoulder, NECK, "shoulder"),
            Bone(elbow, shoulder, "upper_arm"),
            Bone(wrist, elbow, "forearm"),
        ]
        bones += [Bone(hip, MID_HIP, "pelvis"), Bone(knee, hip, "thigh"), Bone(ankle, knee, "shin")]
        bones += [Bone(hand.start + point, wrist, "hand", point in PALM) for point in range(21)]
        bones += [Bone(JOINTS[f"{side}_{part}"], ankle, "foot") for part in ("big_toe", "small_toe", "heel")]
        bones += [Bone(JOINTS[f"{side}_{part}"], JOINTS["nose"], "face") for part in ("eye", "ear")]
    return bones + [Bone(point, JOINTS["nose"], "face") for point in range(FACE.start, FACE.stop)]


def _scales(bones: list[Bone], source: Skeleton, target: Skeleton) -> tuple[dict[str, float], float]:
    """Reference length by driving length for every kind of bone, and for the whole person.

    Proportions come from the driving limbs at their longest, when they do not point towards the camera. The scale of
    the whole comes from their usual lengths: the longest ones are also those of the closest approach.
    """
    longest = _ratios(bones, source, target, LONG_PERCENTILE)
    usual = _ratios(bones, source, target, 50)
    limbs = [kind for kind in LIMBS if kind in usual]
    if not limbs:
        raise ValueError("cannot fit the driving person to the reference: they show no limb in common")
    overall = float(np.median([usual[kind] for kind in limbs]))
    correction = overall / float(np.median([longest[kind] for kind in limbs]))
    low, high = overall / LARGEST_DEVIATION, overall * LARGEST_DEVIATION
    scales = {kind: ratio * correction for kind, ratio in longest.items() if low <= ratio * correction <= high}
    return {bone.kind: scales.get(bone.kind, overall) for bone in bones}, overall


def _ratios(bones: list[Bone], source: Skeleton, target: Skeleton, percentile: float) -> dict[str, float]:
    """Summed reference lengths divided by summed driving lengths, of each kind of bone that both persons show."""
    source_lengths, target_lengths = (_lengths(bones, person, percentile) for person in (source, target))
    measured = np.array([bone.measured for bone in bones]) & (source_lengths > 0) & (target_lengths > 0)
    kinds = np.array([bone.kind for bone in bones])
    return {
        str(kind): float(target_lengths[chosen].sum() / source_lengths[chosen].sum())
        for kind in np.unique(kinds)
        if (chosen := measured & (kinds == kind)).any()
    }


def _lengths(bones: list[Bone], person: Skeleton, percentile: float) -> NDArray[np.float64]:
    """A percentile of each bone's lengths over the frames that show it; 0 if none does."""
    lengths = np.zeros(len(bones))
    for index, (child, parent, *_) in enumerate(bones):
        seen = person.seen[:, child] & person.seen[:, parent]
        if seen.any():
            vectors = person.points[seen, child] - person.points[seen, parent]
            lengths[index] = np.percentile(np.hypot(vectors[:, 0], vectors[:, 1]), percentile)
    return lengths


def _rebuilt(
    source: Skeleton,
    root: int,
    start: NDArray[np.float64],
    bones: list[Bone],
    scales: dict[str, float],
    overall: float,
) -> NDArray[np.float64]:
    """The driving points [N, 135, 2], carried along the tree from the root."""
    points = _gaps_filled(source)
    shown = np.atleast_1d(source.seen.any(axis=0))
    moved = points.copy()
    moved[:, root] = start + overall * (points[:, root] - points[0, root])
    # A point that is never seen cannot carry others: its parent carries them, over both bones, by the overall scale.
    carriers = {root: root}
    for child, parent, kind, _ in bones:
        carrier = carriers[parent]
        ratio = scales[kind] if carrier == parent else overall
        moved[:, child] = moved[:, carrier] + ratio * (points[:, child] - points[:, carrier])
        carriers[child] = child if shown[child] else carrier
    return moved


def _gaps_filled(source: Skeleton) -> NDArray[np.float64]:
    """The points, interpolated over the frames that do not show them, so that points that they carry do not jump."""
    points, frames = source.points.copy(), np.arange(len(source.points))
    for point in range(points.shape[1]):
        seen = source.seen[:, point]
        if seen.any():
            for axis in (0, 1):
                points[:, point, axis] = np.interp(frames, frames[seen], points[seen, point, axis])
    return points
