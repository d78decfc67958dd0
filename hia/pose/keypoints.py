"""The COCO-WholeBody layout of 133 keypoints: its left/right mirror, the filling of short gaps, and sequences of it.

Layout: COCO-WholeBody (Jin et al., "Whole-Body Human Pose Estimation in the Wild", 2020): 17 body joints, 6
points of the feet, 68 of the face in the order of iBUG 300-W, 21 of each hand. Left and right are the
person's own. Coordinates are in pixels, x to the right and y down; whole numbers are the centres of pixels.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hia.config import PreprocessConfig
from hia.images import cover_transform

NUM_KEYPOINTS = 133
BODY = slice(0, 17)
FEET = slice(17, 23)
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)
HANDS = (LEFT_HAND, RIGHT_HAND)
# The index of the middle of the shoulders, which the layout lacks, in skeletons that need it.
NECK = NUM_KEYPOINTS
# Keypoints below this score are not drawn, measured or boxed.
SCORE_THRESHOLD = 0.3
# Keypoints that are missing for at most this long are interpolated, unless a configuration says otherwise.
LONGEST_GAP_SECONDS = PreprocessConfig().longest_gap_seconds
BODY_NAMES = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
FEET_NAMES = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel"))
JOINTS = {name: index for index, name in enumerate((*BODY_NAMES, *FEET_NAMES))}
# Pairs of the 68 face points that a mirror exchanges; the others (bridge and tip of the nose, the middle of
# lips and chin) stay.
FACE_PAIRS = (
    *((jaw, 16 - jaw) for jaw in range(8)),
    *((brow, 43 - brow) for brow in range(17, 22)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
    *((60, 64), (61, 63), (65, 67)),
)


def _flip_table() -> NDArray[np.intp]:
    """Index of the keypoint that takes each keypoint's place in a mirror, int [133]."""
    pairs = [(left, left + 1) for left in range(1, 17, 2)]
    pairs += [(left, left + 3) for left in range(17, 20)]
    pairs += [(FACE.start + one, FACE.start + other) for one, other in FACE_PAIRS]
    pairs += list(zip(range(91, 112), range(112, 133), strict=True))
    table = np.arange(NUM_KEYPOINTS)
    for one, other in pairs:
        table[one], table[other] = other, one
    table.flags.writeable = False
    return table


FLIP_TABLE = _flip_table()


def flip_horizontal(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], width: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Keypoints of the mirrored image: x → width − 1 − x, left and right exchanged. Inputs stay as they are.

    keypoints [..., 133, 2] px; scores [..., 133]; the types of the inputs are kept. Twice is the identity: exactly if
    the type can hold width − 1 − x (float32: x in steps of 2⁻¹⁴ px below 1024 px), else to its last place (3e-5 px).
    Raises ValueError for other layouts.
    """
    if keypoints.shape[-2:] != (NUM_KEYPOINTS, 2) or scores.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"keypoints and scores must be [..., {NUM_KEYPOINTS}, 2] and [..., {NUM_KEYPOINTS}], "
            f"not {list(keypoints.shape)} and {list(scores.shape)}"
        )
    mirrored = keypoints[..., FLIP_TABLE, :]
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored, scores[..., FLIP_TABLE]


def require_person(keypoints: NDArray[np.floating], scores: NDArray[np.floating]) -> None:
    """Raise ValueError unless keypoints [133, 2] and scores [133] are those of one person in one frame."""
    if keypoints.shape != (NUM_KEYPOINTS, 2) or scores.shape != (NUM_KEYPOINTS,):
        raise ValueError(
            f"one person's keypoints and scores must be [{NUM_KEYPOINTS}, 2] and [{NUM_KEYPOINTS}] "
            f"(COCO-WholeBody), not {list(keypoints.shape)} and {list(scores.shape)}"
        )


def fill_short_gaps(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    fps: float,
    longest_seconds: float = LONGEST_GAP_SECONDS,
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """`fill_gaps` with the longest gap in seconds of a video of `fps` frames per second.

    Training clips and driving motions are both filled by this function, so that a model meets no gaps that are shorter
    than those of its training set.
    """
    return fill_gaps(keypoints, scores, round(longest_seconds * fps))


def fill_gaps(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], longest: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Interpolate each keypoint linearly over runs of at most `longest` frames in which it was not seen.

    keypoints [N, K, 2] px; scores [N, K]; a keypoint is seen if its score is 0.3 or more. A filled point gets the
    smaller score of the two seen ones that surround it. Longer runs, and those at the start and the end, stay as they
    are. Returns new keypoints and scores of the inputs' types, and filled bool [N, K]. Raises ValueError for other
    layouts and a negative `longest`.
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


@dataclass(frozen=True, eq=False)
class KeypointSequence:
    """The keypoints of one person over a video, checked when made and read-only after.

    keypoints float32 [N, 133, 2] px; scores float32 [N, 133]; width, height of the frames in px; fps: frames
    per second. Raises ValueError for other layouts, no frames, coordinates or scores that are not finite, and
    a width, height or fps that is not positive.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    width: int
    height: int
    fps: float

    def __post_init__(self) -> None:
        keypoints, scores = _float32(self.keypoints, "keypoints"), _float32(self.scores, "scores")
        _check_layout(keypoints, scores)
        _check_finite(keypoints, "keypoints")
        _check_finite(scores, "scores")
        for name, kind in (("width", int), ("height", int), ("fps", float)):
            object.__setattr__(self, name, _positive(getattr(self, name), name, kind))
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.keypoints)

    def resized(self, width: int, height: int) -> "KeypointSequence":
        """The same person in frames of width × height px: scaled to cover, the centre cropped, as images are.

        Points that the crop cuts off keep their scores and lie outside the frame.
        """
        scale, offset_x, offset_y = cover_transform(self.width, self.height, width, height)
        moved = (self.keypoints.astype(np.float64) + 0.5) * scale - (offset_x, offset_y) - 0.5
        return replace(self, keypoints=moved.astype(np.float32), width=width, height=height)

    def with_gaps_filled(self, longest_seconds: float = LONGEST_GAP_SECONDS) -> "KeypointSequence":
        """The same person with short gaps filled, see `fill_short_gaps`."""
        keypoints, scores, _ = fill_short_gaps(self.keypoints, self.scores, self.fps, longest_seconds)
        return replace(self, keypoints=keypoints, scores=scores)


def _float32(values: ArrayLike, name: str) -> NDArray[np.float32]:
    """A read-only float32 copy."""
    if np.iscomplexobj(values):
        raise ValueError(f"{name} must be real numbers")
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from None
    array.flags.writeable = False
    return array


def _check_layout(keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    if keypoints.ndim != 3 or keypoints.shape[1:] != (NUM_KEYPOINTS, 2):
        raise ValueError(
            f"keypoints must be [frames, {NUM_KEYPOINTS}, 2] (COCO-WholeBody), not {list(keypoints.shape)}"
        )
    if len(keypoints) == 0:
        raise ValueError("keypoints have no frames: at least one is needed")
    if scores.shape != keypoints.shape[:2]:
        raise ValueError(f"scores must be {list(keypoints.shape[:2])} like the keypoints, not {list(scores.shape)}")


def _check_finite(values: NDArray[np.float32], name: str) -> None:
    """Raise ValueError that names the first frame and keypoint with NaN or infinity."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        frame, keypoint = bad[0, :2]
        raise ValueError(
            f"{name} must be finite: frame {frame}, keypoint {keypoint} is {values[frame, keypoint]} "
            "(a point that was not seen has score 0 and any finite coordinates)"
        )


def _positive(value: float, name: str, kind: type) -> float:
    """The value as `kind`. Raises ValueError unless it is a positive finite number (a whole one, for int)."""
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if not (number == value and 0 < number < float("inf")):
        raise ValueError(f"{name} must be a positive {'whole ' if kind is int else ''}number, not {value}")
    return number
