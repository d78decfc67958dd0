"""Figures of the overfitting benchmark on the frames that were kept out of training, and pictures of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hia.evaluation.image import psnr
from hia.images import Frame
from hia.visualization.comparison import Comparison
from hia.visualization.text import BACKGROUND, MUTED, Style, draw_text

# Two moments this far apart show different poses.
SECONDS_APART = 0.4
COLUMNS = 10
LABEL_WIDTH = 92
HAND_SIDE = 112


@dataclass(frozen=True)
class Learned:
    """Figures of one clip, means over the frames that were kept out.

    psnr: of the animation, dB; repeated, codec: of the reference repeated, and of the truth through the codec: the
    least and the most that can be expected. hands, hands_repeated: PSNR inside the boxes of the hands, None without
    any. own_moment: share of frames that are nearer to the truth of their own moment than to that of any at least 0.4 s
    away; for a person who does not follow the keypoints it is that of chance.
    """

    video: str
    frames: int
    psnr: float
    repeated: float
    codec: float
    hands: float | None
    hands_repeated: float | None
    own_moment: float

    @property
    def gain(self) -> float:
        """dB above the repeated reference."""
        return self.psnr - self.repeated

    def __str__(self) -> str:
        hands = "" if self.hands is None else f"; hands {self.hands:.2f} dB (repeated {self.hands_repeated:.2f})"
        return (
            f"{self.video}: {self.psnr:.2f} dB over {self.frames} frames, {self.gain:+.2f} on the reference repeated "
            f"({self.repeated:.2f}), codec {self.codec:.2f}{hands}; {self.own_moment:.0%} nearest to their own moment"
        )


def hands_psnr(truth: Frame, generated: Frame, boxes: NDArray[np.int32]) -> float | None:
    """Mean PSNR inside the hands' boxes [n, 2 hands, 4], −1 where there is no hand; None when there is none at all."""
    values = [
        psnr(truth[i : i + 1, top:bottom, left:right], generated[i : i + 1, top:bottom, left:right])[0]
        for i, both in enumerate(boxes)
        for left, top, right, bottom in both
        if left >= 0
    ]
    return float(np.mean(values)) if values else None


def own_moment(truth: Frame, generated: Frame, seconds: NDArray[np.floating]) -> float:
    """Share of the generated frames [n, H, W, 3] nearer to their own truth than to any at least 0.4 s away.

    seconds: [n], the frames' times.
    """
    own = psnr(truth, generated)
    others = np.stack([psnr(truth, np.broadcast_to(frame, truth.shape)) for frame in generated])  # [generated, truth]
    far = np.abs(seconds[:, None] - seconds) >= SECONDS_APART
    return float((own > np.where(far, others, -np.inf).max(axis=1)).mean())


# ------------------------------------------------------------------------------------------------ the sharpness knob


@dataclass(frozen=True)
class Knob:
    """Sharpness asked for against the variance of the Laplacian obtained in the hands' boxes.

    obtained: the median over hands and frames for each value of `asked`. correlation: Spearman's, of each hand in each
    frame by itself over the values asked for, then the mean; fast: the same of the faster half, in which blur shows;
    following: share of hands whose correlation is positive.
    """

    asked: tuple[float, ...]
    obtained: tuple[float, ...]
    correlation: float
    fast: float
    following: float
    hands: int

    def __str__(self) -> str:
        obtained = ", ".join(f"{asked:g} → {value:.2f}" for asked, value in zip(self.asked, self.obtained, strict=True))
        return (
            f"sharpness asked for → variance of Laplacian: {obtained}; rank correlation {self.correlation:+.2f} over "
            f"{self.hands} hands ({self.fast:+.2f} over the faster half), {self.following:.0%} positive"
        )


def knob_figures(asked: Sequence[float], obtained: NDArray[np.floating], speed: NDArray[np.floating]) -> Knob:
    """Figures from the variances obtained [values asked for, n, 2 hands] and the hands' speed [n, 2].

    NaN where a hand, or its speed, is not known; such hands are left out, or count as slow. A hand that does not change
    at all has the correlation 0. Raises ValueError when no hand was seen.
    """
    seen = ~np.isnan(obtained).any(axis=0)
    if not seen.any():
        raise ValueError("no hand is seen in the frames that were kept out: the knob cannot be judged")
    hands = obtained[:, seen].T
    ranks = np.array([0.0 if np.ptp(values) == 0 else spearmanr(asked, values).statistic for values in hands])
    speeds = np.nan_to_num(speed[seen])
    return Knob(
        asked=tuple(asked),
        obtained=tuple(np.median(hands, axis=0).tolist()),
        correlation=float(ranks.mean()),
        fast=float(ranks[speeds >= np.median(speeds)].mean()),
        following=float((ranks > 0).mean()),
        hands=len(hands),
    )


# ---------------------------------------------------------------------------------------------------------- pictures


def beside_truth(comparison: Comparison) -> Frame:
    """Skeleton, result, truth and the reference repeated, one below the other, for moments from first to last."""
    moments = np.unique(np.linspace(0, len(comparison.generated) - 1, COLUMNS).round().astype(int))
    panels = [comparison.panels(moment) | {"reference": comparison.reference} for moment in moments]
    return _table({label: [column[label] for column in panels] for label in panels[0]})


def fastest_hands(rows: Mapping[str, Frame], boxes: NDArray[np.int32], speed: NDArray[np.floating]) -> Frame:
    """The fastest hands, enlarged, from each row's frames [n, H, W, 3]. boxes: [n, 2, 4]; speed: [n, 2]."""
    speeds = np.where(boxes[..., 0] >= 0, np.nan_to_num(speed), -1)
    order = np.argsort(-speeds, axis=None, kind="stable")[: min(COLUMNS, int((speeds >= 0).sum()))]
    chosen = [np.unravel_index(index, speeds.shape) for index in order]
    return _table({label: [_crop(frames[i], boxes[i, side]) for i, side in chosen] for label, frames in rows.items()})


def _crop(frame: Frame, box: NDArray[np.int32]) -> Frame:
    left, top, right, bottom = box
    return np.asarray(cv2.resize(frame[top:bottom, left:right], (HAND_SIDE, HAND_SIDE), interpolation=cv2.INTER_CUBIC))


def _table(rows: Mapping[str, Sequence[Frame]]) -> Frame:
    return np.concatenate(list(_labelled(rows)))


def _labelled(rows: Mapping[str, Sequence[Frame]]) -> Iterator[Frame]:
    for label, pictures in rows.items():
        band = np.full((pictures[0].shape[0], LABEL_WIDTH, 3), BACKGROUND, np.uint8)
        draw_text(band, label, 6, band.shape[0] // 2, Style(size=14, colour=MUTED))
        yield np.concatenate([band, *pictures], axis=1)
