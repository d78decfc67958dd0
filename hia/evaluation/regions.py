"""Measures within the face and the hands, the subjects of regional supervision (paper sec. 3.1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hia.conditions.blur import sharpness
from hia.conditions.regions import Box, face_box, hand_boxes
from hia.evaluation.image import WINDOW, l1, psnr, ssim
from hia.images import Frame
from hia.pose.keypoints import KeypointSequence

REGIONS = ("face", "hands")
LEAST_PAIRS = 3


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes of the face and the hands in every frame of a video; None where there is none.

    face: one per frame; hands: the left and the right one per frame. Raises ValueError when they are not equally many.
    """

    face: tuple[Box | None, ...]
    hands: tuple[tuple[Box | None, Box | None], ...]

    def __post_init__(self) -> None:
        if len(self.face) != len(self.hands):
            raise ValueError(f"there are faces of {len(self.face)} frames, but hands of {len(self.hands)}")

    def __len__(self) -> int:
        return len(self.face)

    @classmethod
    def of(cls, keypoints: KeypointSequence) -> "Regions":
        """The boxes that training uses, from the keypoints of the true video."""
        size = keypoints.width, keypoints.height
        people = list(zip(keypoints.keypoints, keypoints.scores, strict=True))
        return cls(
            tuple(face_box(points, scores, *size) for points, scores in people),
            tuple(hand_boxes(points, scores, *size) for points, scores in people),
        )

    def boxes(self, region: str) -> list[tuple[int, Box]]:
        """Frame and box of every `face` or of all `hands`; both hands of a frame follow each other."""
        of_frames: Sequence[Sequence[Box | None]] = self.hands if region == "hands" else [(box,) for box in self.face]
        return [(index, box) for index, boxes in enumerate(of_frames) for box in boxes if box is not None]


def region_values(reference: Frame, generated: Frame, regions: Regions) -> dict[str, NDArray[np.float64]]:
    """L1 (grey levels), PSNR and SSIM within the boxes, one value per box, by name, e.g. `face_l1`, `hands_ssim`.

    Only the box's own pixels count. Regions that are nowhere are absent; SSIM leaves out boxes smaller than its window.
    """
    values: dict[str, list[float]] = {}
    for region in REGIONS:
        for true, made in _crops(reference, generated, regions.boxes(region)):
            measures = {"l1": l1, "psnr": psnr} | ({"ssim": ssim} if min(true.shape[1:3]) >= WINDOW else {})
            for name, measure in measures.items():
                values.setdefault(f"{region}_{name}", []).append(float(measure(true, made)[0]))
    return {name: np.array(found) for name, found in values.items()}


def sharpness_pairs(
    reference: Frame, generated: Frame, regions: Regions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Raw sharpness s of every hand, [K] of the generated and [K] of the true video, in the same boxes (sec. 3.2).

    The true one is what the model is conditioned on in the paper's evaluation.
    """
    crops = list(_crops(reference, generated, regions.boxes("hands")))
    made, true = ([sharpness(pair[side][0]) for pair in crops] for side in (1, 0))
    return np.array(made, np.float64), np.array(true, np.float64)


def sharpness_agreement(generated: NDArray[np.floating], asked: NDArray[np.floating]) -> dict[str, float]:
    """Agreement of generated sharpness [K] with the requested one [K], both raw (variances of the Laplacian).

    `hand_sharpness_log_ratio`: the median of log (1 + s) − log (1 + asked), 0 when equal, below when blurred too much.
    `hand_sharpness_spearman` and `hand_sharpness_pearson` (of log (1 + s)), absent for fewer than
    3 pairs, or without variation. Empty without pairs.
    """
    if len(generated) == 0:
        return {}
    made, wanted = np.log1p(np.asarray(generated, np.float64)), np.log1p(np.asarray(asked, np.float64))
    figures = {"hand_sharpness_log_ratio": float(np.median(made - wanted))}
    if len(made) >= LEAST_PAIRS and np.ptp(made) > 0 and np.ptp(wanted) > 0:
        # Spearman's definition; many times faster than `spearmanr`, which also computes a p-value.
        figures["hand_sharpness_spearman"] = float(np.corrcoef(rankdata(made), rankdata(wanted))[0, 1])
        figures["hand_sharpness_pearson"] = float(np.corrcoef(made, wanted)[0, 1])
    return figures


def _crops(reference: Frame, generated: Frame, boxes: Sequence[tuple[int, Box]]) -> Iterator[tuple[Frame, Frame]]:
    """The same box of both videos, uint8 [1, h, w, 3] each."""
    for index, box in boxes:
        window = slice(index, index + 1), slice(box.top, box.bottom), slice(box.left, box.right)
        yield reference[window], generated[window]
