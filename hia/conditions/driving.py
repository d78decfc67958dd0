"""The driving signal of an animation: keypoints, hand movement and sharpness, maps; and its control images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hia.conditions.blur import hand_movement
from hia.conditions.control import render_control
from hia.config import ConditionsConfig
from hia.pose.keypoints import KeypointSequence


@dataclass(frozen=True)
class DrivingSignal:
    """The driving signal of N frames, in the output's pixels; training and inference draw control images from it.

    keypoints: N frames; movement float32 [N, 2 hands, 2] in [−1, 1]; sharpness float32 [N, 2 hands] in [0, 1], NaN
    where there is no hand. conditions: the channels that are drawn. maps: frame → the M maps that the conditions name,
    float32 [3·M, H, W] in [0, 1]; None: they are black.
    """

    keypoints: KeypointSequence
    movement: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    conditions: ConditionsConfig
    maps: Callable[[int], NDArray[np.float32]] | None = None

    def control_image(self, frame: int) -> NDArray[np.float32]:
        """The control image of one frame, float32 [K, H, W] with the K channels of the conditions."""
        keypoints, conditions = self.keypoints, self.conditions
        drawn = render_control(
            keypoints.keypoints[frame],
            keypoints.scores[frame],
            self.movement[frame],
            self.sharpness[frame],
            keypoints.width,
            keypoints.height,
            feet=conditions.feet,
            blur=conditions.blur,
        )
        if not conditions.maps:
            return drawn
        black = np.zeros((conditions.num_channels - len(drawn), *drawn.shape[1:]), np.float32)
        return np.concatenate([drawn, black if self.maps is None else self.maps(frame)])


def driving_signal(
    keypoints: KeypointSequence,
    width: int,
    height: int,
    sharpness: float | NDArray[np.floating],
    conditions: ConditionsConfig | None = None,
) -> DrivingSignal:
    """Fit keypoints to the output and derive the blur conditions.

    sharpness: one knob value in [0, 1] for all, or [N, 2 hands] with NaN where no hand was seen. Movement is measured
    in the output's pixels, as in training. conditions: those of the model, by default the paper's. Raises ValueError
    for sharpness of another shape or range.
    """
    fitted = keypoints.resized(width, height)
    values = np.asarray(sharpness, dtype=np.float32)
    if values.ndim and values.shape != (len(fitted), 2):
        raise ValueError(f"sharpness must be one number or [{len(fitted)}, 2], not {list(values.shape)}")
    wrong = values[~((values >= 0) & (values <= 1) | (np.isnan(values) & (values.ndim > 0)))]
    if wrong.size:
        raise ValueError(f"sharpness must lie in [0, 1], not {wrong.flat[0]:g}")
    movement = hand_movement(fitted.keypoints, fitted.scores, width, height, fitted.fps)
    return DrivingSignal(fitted, movement, np.broadcast_to(values, (len(fitted), 2)), conditions or ConditionsConfig())
