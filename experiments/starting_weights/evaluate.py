"""Evaluation of a model on dancers that it has not seen: figures and a picture.

python -m experiments.starting_weights.evaluate MODEL --work FOLDER [--picture FILE.png] [--guidance 1 2]
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from experiments.starting_weights import dancers
from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import DrivingSignal, driving_signal
from hia.images import Frame
from hia.models.animation_model import AnimationModel, load_model
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import read_frames

REFERENCE, FRAMES = 0, (6, 14, 22, 29)
# Grey levels by which a pixel differs from the reference's to count as moved.
MOVED = 24


@dataclass(frozen=True)
class Animated:
    """A dancer's frames and what a model made of the reference: reference [H, W, 3], true and made [N, H, W, 3]."""

    reference: Frame
    true: Frame
    made: Frame

    @property
    def repeated(self) -> Frame:
        """The reference in place of every frame."""
        return np.broadcast_to(self.reference, self.true.shape)

    @property
    def moved(self) -> NDArray[np.bool_]:
        """True where a frame differs from the reference, mostly the dancer, bool [N, H, W]."""
        return np.abs(self.true.astype(np.int16) - self.reference).max(axis=-1) > MOVED


def psnr(pictures: Frame, true: Frame, where: NDArray[np.bool_] | None = None) -> float:
    """Mean peak signal-to-noise ratio of pictures in dB, over all pixels or some [N, H, W]."""
    errors = np.square(pictures.astype(np.float64) - true).mean(axis=-1)
    chosen = np.ones(errors.shape, bool) if where is None else where
    means = [error[here].mean() for error, here in zip(errors, chosen, strict=True) if here.any()]
    return float(np.mean(-10 * np.log10(np.array(means) / 255**2)))


def animate_dancer(
    model: AnimationModel,
    video: Path,
    frames: Sequence[int] = FRAMES,
    guidance_scale: float | None = None,
    driver: Path | None = None,
    seed: int = 0,
) -> Animated:
    """Animate a dancer's first frame by the keypoints of some of its frames, or of another's (`driver`)."""
    pictures = np.stack(list(read_frames(video)))
    driving = chosen_frames(load_keypoints((driver or video).with_suffix(".npz")), frames, default_sharpness(model))
    sampling = model.config.sampling
    if guidance_scale is not None:
        sampling = replace(sampling, guidance_scale=guidance_scale)
    made = np.stack(list(animate(model, pictures[REFERENCE], driving, sampling, seed=seed)))
    true = pictures if driver is None else np.stack(list(read_frames(driver)))
    return Animated(pictures[REFERENCE], true[list(frames)], made)


def chosen_frames(keypoints: KeypointSequence, frames: Sequence[int], sharpness: float) -> DrivingSignal:
    """The driving signal of some frames, with the movement that the hands have in the whole clip."""
    whole = driving_signal(keypoints, keypoints.width, keypoints.height, sharpness)
    chosen = list(frames)
    part = replace(keypoints, keypoints=keypoints.keypoints[chosen], scores=keypoints.scores[chosen])
    return DrivingSignal(part, whole.movement[chosen], whole.sharpness[chosen], whole.conditions)


def sheet(animated: Sequence[Animated]) -> Image.Image:
    """Dancers below each other; the reference, then in pairs what was made and the true frame."""
    rows = []
    for one in animated:
        pairs = [picture for pair in zip(one.made, one.true, strict=True) for picture in pair]
        rows.append(np.concatenate([one.reference, *pairs], axis=1))
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model directory")
    parser.add_argument("--work", type=Path, required=True, help="folder for the dancers")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0], help="scales to try (%(default)s)")
    parser.add_argument("--dancers", type=int, default=dancers.HELD_OUT[1], help="how many (%(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a PNG of the last scale's frames")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    model.animator.float()
    videos = dancers.render(arguments.work / "dancers", dancers.HELD_OUT)[: arguments.dancers]
    for scale in arguments.guidance:
        animated = [animate_dancer(model, video, guidance_scale=scale) for video in videos]
        print(f"guidance {scale:g}: {summary(animated)}")
    if arguments.picture:
        sheet(animated).save(arguments.picture)


def summary(animated: Sequence[Animated]) -> str:
    """Mean PSNR of the made frames and of the repeated reference, of all pixels and of those that moved."""
    measured = [
        [psnr(pictures, one.true, where) for where in (None, one.moved) for pictures in (one.made, one.repeated)]
        for one in animated
    ]
    made, still, made_moved, still_moved = np.mean(measured, axis=0)
    return (
        f"PSNR {made:.2f} dB (reference repeated: {still:.2f}), where the dancer moved {made_moved:.2f} dB "
        f"({still_moved:.2f})"
    )


if __name__ == "__main__":
    main()
