"""Raw videos as users have them, of coloured rectangles that the networks of `tiny_onnx` see as people."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hia.config import Config, load_config
from hia.images import Frame
from hia.pose.keypoint_files import save_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import write_video
from tests.conftest import TINY_CONFIG
from tests.pose.tiny_onnx import FEET_COLOUR, OTHER, PERSON, Colour, draw_person, figure, write_detector, write_pose

WIDTH, HEIGHT = 96, 128
HALF = 20, 44


def background(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    """A grey wall with soft spots, unlike those of other seeds, far from the colours of people."""
    coarse = np.random.default_rng(seed).integers(60, 200, (height // 16, width // 16))
    grey = np.kron(coarse, np.ones((16, 16)))
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


def centres(num_frames: int, seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.float64]:
    """The middle of a smoothly swaying person, [N, 2] px."""
    phase = np.random.default_rng(seed).uniform(0, 6, 2)
    turns = np.arange(num_frames)[:, None] * (0.15, 0.1) + phase
    return np.array([width / 2, height / 2]) + np.sin(turns) * (8, 5)


def frames_of(
    middles: NDArray[np.float64],
    wall: Frame,
    colour: Colour = PERSON,
    half: tuple[int, int] = HALF,
) -> list[Frame]:
    """Frames of a person at these places in front of a wall."""
    return [draw_person(wall, (x - half[0], y - half[1], x + half[0], y + half[1]), colour) for x, y in middles]


def people_at(
    middles: NDArray[np.float64],
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: float = 30,
    half: tuple[int, int] = HALF,
) -> KeypointSequence:
    """The keypoints of such a person: all 133, spread over the rectangle."""
    keypoints = middles[:, None] - 0.5 + figure() * half
    return KeypointSequence(keypoints.astype(np.float32), np.ones((len(middles), 133), np.float32), width, height, fps)


def write_dance(path: Path, num_frames: int = 40, seed: int = 0, fps: float = 30, sidecar: bool = True) -> Path:
    """Write a good video of one person, with a keypoint file beside it unless `sidecar` is False."""
    middles = centres(num_frames, seed)
    write_video(path, frames_of(middles, background(seed)), fps)
    if sidecar:
        save_keypoints(people_at(middles, fps=fps), path.with_suffix(".npz"))
    return path


def write_networks(folder: Path) -> list[str]:
    """Write small networks that recognise two people by two colours, and return the settings that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "detector": write_detector(folder / "detector.onnx", colours=[PERSON, OTHER]),
        "pose": write_pose(folder / "pose.onnx", colours=[PERSON, OTHER]),
        "feet": write_pose(folder / "feet.onnx", colours=[PERSON, FEET_COLOUR]),
    }
    return [f"preprocess.pose.{role}={path}" for role, path in files.items()]


def small_config(*overrides: str) -> Config:
    """A configuration of quickly made clips of 32×48 px with latents of the pixel codec."""
    return load_config(TINY_CONFIG, ["width=32", "height=48", "preprocess.latents=true", *overrides])
