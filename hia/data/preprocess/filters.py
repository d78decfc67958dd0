"""Clip filters of paper A.3 and A.4: which segments of a video become clips, and with which crop."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hia.config import PreprocessConfig
from hia.data.preprocess.crop import Crop, plan_crop
from hia.data.store.records import Rejected
from hia.pose.keypoints import SCORE_THRESHOLD, KeypointSequence, fill_short_gaps
from hia.pose.tracking import PersonTrack

# A person is present in a frame if at least this many of the 133 points are seen.
LEAST_POINTS = 5

# A second person is tolerated in up to this share of the frames.
PASSING_BY = 0.1


@dataclass(frozen=True)
class ClipPlan:
    """A clip to be made: its keypoints in clip pixels, a mask of interpolated ones (bool [N, 133]), and the crop."""

    keypoints: KeypointSequence
    filled: NDArray[np.bool_]
    crop: Crop


def plan_clip(
    track: PersonTrack,
    fps: float,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    settings: PreprocessConfig,
) -> ClipPlan:
    """Plan a clip of a segment from its person's track; sizes are (width, height) in px.

    Raises Rejected: too_short, nobody, person_missing, several_people, too_much_padding, too_small.
    """
    check_length(len(track.keypoints), fps, settings)
    _check_people(track, settings)
    keypoints, scores, filled = fill_short_gaps(track.keypoints, track.scores, fps, settings.longest_gap_seconds)
    try:
        crop = plan_crop(keypoints, scores, source_size, target_size, settings.crop_margin)
    except ValueError as error:
        raise Rejected("nobody", str(error)) from None
    _check_crop(crop, settings)
    return ClipPlan(KeypointSequence(crop.move(keypoints), scores, *target_size, fps), filled, crop)


def least_clip_frames(fps: float, settings: PreprocessConfig) -> int:
    """Least number of frames of a clip."""
    return max(2, round(settings.least_seconds * fps))


def check_length(num_frames: int, fps: float, settings: PreprocessConfig) -> None:
    """Check a clip's number of frames. Raises Rejected (too_short)."""
    if num_frames < least_clip_frames(fps, settings):
        raise Rejected(
            "too_short",
            f"{num_frames} frames, {num_frames / fps:.2f} s; at least {settings.least_seconds:g} s are needed",
        )


def check_regions(hand_boxes: NDArray[np.int32], face_boxes: NDArray[np.int32], settings: PreprocessConfig) -> None:
    """Check that hands and face have boxes in enough frames. Raises Rejected (hands_not_seen, face_not_seen).

    hand_boxes [N, 2, 4]; face_boxes [N, 4]; −1 where there is none.
    """
    hands, face = seen_shares(hand_boxes, face_boxes)
    for reason, share, least in (
        ("hands_not_seen", hands, settings.hands_seen),
        ("face_not_seen", face, settings.face_seen),
    ):
        if share < least:
            raise Rejected(reason, f"seen in {share:.0%} of the frames, at least {least:.0%} are needed")


def seen_shares(hand_boxes: NDArray[np.int32], face_boxes: NDArray[np.int32]) -> tuple[float, float]:
    """Shares of the frames with a box of at least one hand, and of the face."""
    return float((hand_boxes[..., 0] >= 0).any(axis=1).mean()), float((face_boxes[..., 0] >= 0).mean())


def _check_people(track: PersonTrack, settings: PreprocessConfig) -> None:
    present = (track.scores >= SCORE_THRESHOLD).sum(axis=1) >= LEAST_POINTS
    if not present.any():
        raise Rejected("nobody", "no person is seen in any frame")
    if present.mean() < settings.person_seen:
        raise Rejected(
            "person_missing",
            f"the person is seen in {present.mean():.0%} of the frames, at least {settings.person_seen:.0%} are needed",
        )
    crowded = np.nan_to_num(track.others) > settings.others_at_most
    if crowded.mean() > PASSING_BY:
        raise Rejected(
            "several_people",
            f"in {crowded.mean():.0%} of the frames there is another person, of up to {np.nanmax(track.others):.0%} of "
            f"the first one's area; at most {settings.others_at_most:.0%} is tolerated",
        )


def _check_crop(crop: Crop, settings: PreprocessConfig) -> None:
    if crop.padding > settings.most_padding:
        raise Rejected(
            "too_much_padding",
            f"the person's extent over the clip, in the target's aspect ratio, lies {crop.padding:.0%} outside the "
            f"frame; at most {settings.most_padding:.0%} is tolerated",
        )
    if crop.upscale > settings.largest_upscale:
        raise Rejected(
            "too_small",
            f"the person fills {crop.width}×{crop.height} px, which would have to be enlarged {crop.upscale:.2g} "
            f"times; at most {settings.largest_upscale:g} times is tolerated",
        )
