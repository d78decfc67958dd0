"""Inference: a reference image and a driving signal in, frames out (paper sec. 3.4)."""

from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import DrivingSignal, driving_signal

__all__ = ["DrivingSignal", "animate", "default_sharpness", "driving_signal"]
