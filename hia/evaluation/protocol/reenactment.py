"""Self reenactment: a clip's first frame is animated by the clip's own motion, so that the truth is known."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from hia.animation.inference import animate, default_sharpness
from hia.conditions.blur import SharpnessScale
from hia.conditions.driving import DrivingSignal
from hia.config import SamplingConfig
from hia.data.sampling.draw import Draw
from hia.data.sampling.sample import cut_driving_signal, cut_images
from hia.data.store.clip import Clip
from hia.data.store.records import ClipInfo
from hia.images import Frame, to_frames, to_tensor
from hia.models.animation_model import AnimationModel

Sharpness = Literal["truth", "default"]
"""Source of the hands' sharpness: measured in the clip itself, as in the paper's evaluation, or the model's default,
the only one for a motion without pictures."""


def reenact(
    model: AnimationModel,
    clip: Clip,
    sampling: SamplingConfig | None = None,
    seed: int = 0,
    frames: int | None = None,
    sharpness: Sharpness = "truth",
) -> tuple[Frame, Frame]:
    """The first `frames` frames of a clip (default: all) and their animation from the first of them.

    Returns truth and generated, uint8 [N, H, W, 3] each, in the model's size; the generated frame 0 shows the pose of
    the reference itself. Apart from these, latents and control images (see `animate`), memory does not grow with the
    number of frames. Raises what `clip_driving_signal` and `animate` do.
    """
    driving = clip_driving_signal(model, clip, frames, sharpness)
    truth = true_frames(model, clip, frames)
    generated = np.empty_like(truth)
    for index, frame in enumerate(animate(model, truth[0], driving, sampling, seed)):
        generated[index] = frame
    return truth, generated


def clip_driving_signal(
    model: AnimationModel, clip: Clip, frames: int | None = None, sharpness: Sharpness = "truth"
) -> DrivingSignal:
    """The driving signal of a clip's reenactment: keypoints, movement, sharpness, cut from the store as in training.

    Raises ValueError when the clip has another aspect ratio than the model, or the model lacks the percentiles with
    which sharpness is measured.
    """
    size = _size(model, clip)
    signal = cut_driving_signal(clip, _draw(clip, frames), size, _scale(model, clip), model.config.conditions)
    if sharpness == "default":
        return replace(signal, sharpness=np.full_like(signal.sharpness, default_sharpness(model)))
    return signal


def true_frames(model: AnimationModel, clip: Clip, frames: int | None = None) -> Frame:
    """The clip's first frames, uint8 [N, H, W, 3] in the model's size. Raises ValueError for another aspect ratio."""
    return cut_images(clip, _draw(clip, frames).targets, _size(model, clip), mirrored=False).numpy()


@torch.no_grad()
def reconstruct(model: AnimationModel, frames: Frame) -> Frame:
    """Frames through the model's codec and back, uint8 [N, H, W, 3]: no animation in its latents can be closer."""
    device = next(model.animator.parameters()).device
    restored = np.empty_like(frames)
    for index, frame in enumerate(frames):
        restored[index] = to_frames(model.codec.decode(model.codec.encode(to_tensor(frame)[None].to(device))))[0]
    return restored


def interleave_by_video(clips: Sequence[ClipInfo]) -> list[ClipInfo]:
    """The clips in an order whose beginning has as many different videos as there are."""
    by_video: dict[str, list[ClipInfo]] = {}
    for clip in clips:
        by_video.setdefault(clip.video, []).append(clip)
    rounds = itertools.zip_longest(*by_video.values())
    return [clip for clips_of_round in rounds for clip in clips_of_round if clip is not None]


def _draw(clip: Clip, frames: int | None) -> Draw:
    if frames is not None and frames < 1:
        raise ValueError(f"frames must be at least 1, not {frames}")
    count = len(clip) if frames is None else min(frames, len(clip))
    return Draw(clip.info, tuple(range(count)), still=False, reference=0, mirrored=False)


def _size(model: AnimationModel, clip: Clip) -> tuple[int, int]:
    width, height = model.config.width, model.config.height
    if clip.info.width * height != clip.info.height * width:
        raise ValueError(
            f"clip {clip.info.id} ({clip.info.video}) has {clip.info.width}×{clip.info.height} px, the model makes "
            f"{width}×{height}: only clips of the same aspect ratio can be compared; preprocess for this size"
        )
    return width, height


def _scale(model: AnimationModel, clip: Clip) -> SharpnessScale | None:
    if model.config.conditions.sharpness_scale == "clip" or not model.config.conditions.blur:
        return None
    if model.sharpness is None:
        raise ValueError(
            f"clip {clip.info.id} ({clip.info.video}): the model has no sharpness percentiles of a training set, by "
            "which it could be told how sharp the hands are"
        )
    return model.sharpness
