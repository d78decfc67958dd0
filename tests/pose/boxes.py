"""Boxes of people, used by several tests."""

import numpy as np

Box = tuple[float, float, float, float]


def around(x: float, y: float, half_width: float = 30, half_height: float = 60) -> Box:
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def boxes(*some: Box) -> np.ndarray:
    return np.array(some, np.float32).reshape(-1, 4)
