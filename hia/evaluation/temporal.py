"""Measures of the change from frame to frame. Frames are RGB uint8 [N, H, W, 3], N at least 2."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.evaluation.image import WHITE, require_comparable
from hia.images import Frame

Picture = NDArray[np.uint8]
Field = NDArray[np.float32]

# A pixel whose flow does not lead back to it is covered or uncovered (Sundaram et al., 2010, as Lai et al.).
OCCLUDED_SHARE, OCCLUDED_LEAST = 0.01, 0.5
# The flow is searched on a pyramid, whose levels must be as large as its patches.
LEAST_SIDE = 24


def dtssd(reference: Frame, generated: Frame) -> float:
    """√ of the mean squared error of the change between consecutive frames, in grey levels (Erofeev et al., 2015).

    Over all pixels, channels and frames; DisCo's variant takes two frames and no root. Raises ValueError as the
    measures of `hia.evaluation.image` do, and for fewer than 2 frames.
    """
    require_comparable(reference, generated)
    _require_two(reference)
    changes = zip(pairwise(reference), pairwise(generated), strict=True)
    errors = [np.square(_change(*made) - _change(*true)).mean() for true, made in changes]
    return float(np.sqrt(np.mean(errors)))


def flicker(frames: Frame) -> float:
    """VBench's temporal flickering: 1 − mean absolute change / 255, 1 for a still picture.

    Motion lowers it also, so it is only to be compared with that of the true video. Raises ValueError for fewer
    than 2 frames.
    """
    _require_two(frames)
    return float(1 - np.mean([np.abs(_change(*pair)).mean() for pair in pairwise(frames)]) / WHITE)


def warping_error(reference: Frame, generated: Frame) -> tuple[float, float]:
    """Squared change of colours (RGB in [0, 1]) along the true motion, of the generated and of the true video.

    ‖g_{t+1} moved back by the true video's optical flow − g_t‖², the mean over pixels that are seen in both frames (Lai
    et al., "Learning Blind Video Temporal Consistency", 2018). Flow: DIS of OpenCV. The true video's own error is what
    the flow cannot explain. Raises ValueError for fewer than 2 frames, and frames with a side below 24 px.
    """
    require_comparable(reference, generated)
    _require_two(reference)
    if min(reference.shape[1:3]) < LEAST_SIDE:
        raise ValueError(
            f"optical flow needs frames of at least {LEAST_SIDE}×{LEAST_SIDE} px, not "
            f"{reference.shape[2]}×{reference.shape[1]}"
        )
    totals, seen_pixels = np.zeros(2), 0
    for index in range(len(reference) - 1):
        flow, seen = _flow(reference[index], reference[index + 1])
        for number, video in enumerate((generated, reference)):
            totals[number] += _warped_error(video[index], video[index + 1], flow)[seen].sum()
        seen_pixels += int(seen.sum())
    return tuple((totals / max(seen_pixels, 1)).tolist())


def _dtssd_figures(reference: Frame, generated: Frame) -> dict[str, float]:
    return {"dtssd": dtssd(reference, generated)}


def _flicker_figures(reference: Frame, generated: Frame) -> dict[str, float]:
    made, true = flicker(generated), flicker(reference)
    return {"flicker": made, "flicker_difference": made - true}


def _warping_figures(reference: Frame, generated: Frame) -> dict[str, float]:
    made, true = warping_error(reference, generated)
    return {"warping_error": made, "warping_error_real": true}


MEASURES: Mapping[str, Callable[[Frame, Frame], dict[str, float]]] = MappingProxyType(
    {"dtssd": _dtssd_figures, "flicker": _flicker_figures, "warping_error": _warping_figures}
)
"""Figures of a true and a generated video, by the name of the metric."""


def _change(before: Picture, after: Picture) -> Field:
    return after.astype(np.float32) - before


def _warped_error(before: Picture, after: Picture, flow: Field) -> Field:
    """Squared distance of colours [H, W] between a frame and the next one moved back."""
    moved = _sampled(after.astype(np.float32) / WHITE, flow)
    return np.square(moved - before.astype(np.float32) / WHITE).sum(axis=2)


def _flow(before: Picture, after: Picture) -> tuple[Field, NDArray[np.bool_]]:
    """Optical flow [H, W, 2] px, and a mask [H, W] of the pixels that are seen in both frames."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    one, other = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after))
    forth = np.asarray(search.calc(one, other, None), np.float32)  # type: ignore[call-overload]
    back = np.asarray(search.calc(other, one, None), np.float32)  # type: ignore[call-overload]
    returned = _sampled(back, forth)
    lengths = np.square(forth).sum(axis=2) + np.square(returned).sum(axis=2)
    home = np.square(forth + returned).sum(axis=2) < OCCLUDED_SHARE * lengths + OCCLUDED_LEAST
    return forth, home & _inside(forth)


def _sampled(values: Field, flow: Field) -> Field:
    """Values [H, W, C] at each pixel's place after the flow, interpolated bilinearly."""
    columns, rows = _places(flow)
    return np.asarray(cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _inside(flow: Field) -> NDArray[np.bool_]:
    columns, rows = _places(flow)
    height, width = flow.shape[:2]
    return (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)


def _places(flow: Field) -> tuple[Field, Field]:
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _require_two(frames: Frame) -> None:
    if len(frames) < 2:
        raise ValueError(f"measures of change need at least 2 frames, not {len(frames)}")
