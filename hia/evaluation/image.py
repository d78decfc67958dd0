"""Measures of single frames against the truth, as the DisCo code defines them, without its integer overflow.

All take uint8 [N, H, W, 3] twice, RGB, and give one float64 per frame, [N]. They raise ValueError for other layouts,
unequal shapes and no frames at all.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from hia.images import Frame

WHITE = 255.0
# PSNR of equal frames, which have no error to divide by (DisCo's convention; scikit-image says infinite).
IDENTICAL_PSNR = 100.0
# SSIM: side of the uniform window, and the constants K1 and K2 (Wang et al., "Image Quality Assessment", 2004).
WINDOW = 7
K1, K2 = 0.01, 0.03
# Shares of red, green and blue in an 8-bit grey level, in parts of 2¹⁵: those of OpenCV, to the last bit.
GREY_SHARES, GREY_BITS = (9798, 19235, 3735), 15

FrameMeasure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]


def l1(reference: Frame, generated: Frame) -> NDArray[np.float64]:
    """Mean absolute error over pixels and channels, in grey levels 0–255."""
    return _of_each_frame(_mean_absolute_error, reference, generated)


def l1_disco(reference: Frame, generated: Frame) -> NDArray[np.float64]:
    """The L1 of DisCo's tables: the mean absolute error divided by the number of pixels once more.

    The same error counts less in a larger frame, so only frames of one size can be compared.
    """
    errors = l1(reference, generated)
    return errors / (reference.shape[1] * reference.shape[2])


def psnr(reference: Frame, generated: Frame) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB: 20·log10(255 / √MSE) over pixels and channels; 100 for equal frames."""
    return _of_each_frame(_psnr, reference, generated)


def ssim(reference: Frame, generated: Frame) -> NDArray[np.float64]:
    """Structural similarity of the frames in 8-bit grey: uniform 7×7 window, sample covariance, K1 0.01, K2 0.03.

    The mean over all windows that lie within the frame. This is scikit-image's default, which DisCo uses; neither the
    Gaussian variant nor that on colours. Raises ValueError also for frames smaller than the window.
    """
    return _of_each_frame(_ssim, reference, generated)


MEASURES: Mapping[str, Callable[[Frame, Frame], NDArray[np.float64]]] = MappingProxyType(
    {"psnr": psnr, "ssim": ssim, "l1": l1, "l1_disco": l1_disco}
)
"""All measures by name."""


def _of_each_frame(measure: FrameMeasure, reference: Frame, generated: Frame) -> NDArray[np.float64]:
    """Measure one frame at a time: in float64, a clip would take eight times its memory."""
    require_comparable(reference, generated)
    return np.array([measure(*frames) for frames in zip(reference, generated, strict=True)], np.float64)


def require_comparable(reference: Frame, generated: Frame) -> None:
    """Check that both are frames, uint8 [N, H, W, 3], N at least 1, of one number and size. Raises ValueError."""
    for name, frames in {"reference": reference, "generated": generated}.items():
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or frames.size == 0:
            raise ValueError(
                f"{name} must be uint8 [N, H, W, 3] with at least one frame, not {frames.dtype} {list(frames.shape)}"
            )
    if reference.shape != generated.shape:
        raise ValueError(
            f"frames of unequal number or size cannot be compared: reference {list(reference.shape)}, generated "
            f"{list(generated.shape)}"
        )


def _difference(reference: NDArray[np.uint8], generated: NDArray[np.uint8]) -> NDArray[np.float64]:
    # In uint8, differences and squares would wrap at 256: errors of 16 grey levels would count as none.
    return reference.astype(np.float64) - generated


def _mean_absolute_error(reference: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    return float(np.abs(_difference(reference, generated)).mean())


def _psnr(reference: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    error = float(np.square(_difference(reference, generated)).mean())
    return 20 * np.log10(WHITE) - 10 * np.log10(error) if error else IDENTICAL_PSNR


def _ssim(reference: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    x, y = _grey(reference), _grey(generated)
    if min(x.shape) < WINDOW:
        raise ValueError(f"SSIM needs frames of at least {WINDOW}×{WINDOW} px, not {x.shape[1]}×{x.shape[0]}")
    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean_x, mean_y = _windows(x), _windows(y)
    variance_x = sample * (_windows(x * x) - mean_x**2)
    variance_y = sample * (_windows(y * y) - mean_y**2)
    covariance = sample * (_windows(x * y) - mean_x * mean_y)
    c1, c2 = (K1 * WHITE) ** 2, (K2 * WHITE) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Whole grey levels [H, W] of RGB [H, W, 3]."""
    levels = frame.astype(np.int64) @ np.array(GREY_SHARES) + (1 << (GREY_BITS - 1))
    return (levels >> GREY_BITS).astype(np.float64)


def _windows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over all windows within [H, W]: [H − 6, W − 6]."""
    means = cv2.boxFilter(values, cv2.CV_64F, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
    edge = WINDOW // 2
    return np.asarray(means[edge:-edge, edge:-edge], np.float64)
