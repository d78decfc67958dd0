"""Inference: a reference image and a driving signal in, frames out (paper sec. 3.4)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from hia.animation.guided_predictor import GuidedPredictor
from hia.conditions.driving import DrivingSignal
from hia.config import SamplingConfig
from hia.diffusion.sampler import sample_latents
from hia.images import Frame, fit_to_size, to_frames, to_tensor
from hia.models.animation_model import AnimationModel
from hia.models.animator import zero_image_token

# Default of the sharpness knob for a model whose training set's percentiles are not known.
UNTRAINED_SHARPNESS = 0.75

# Control images are kept up to this size and drawn again beyond, so memory does not grow with the clip.
CONTROL_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Preview:
    """The present estimate of the clip's middle frame, RGB uint8 [H, W, 3], after `step` of `steps`."""

    step: int
    steps: int
    frame: Frame


def default_sharpness(model: AnimationModel) -> float:
    """The knob's default: the training set's 75th percentile, which on the scale of ranks is 0.75."""
    if model.config.conditions.sharpness_scale == "clip":
        return 0.75
    return model.sharpness.default if model.sharpness else UNTRAINED_SHARPNESS


def animate(
    model: AnimationModel,
    reference: Frame,
    driving: DrivingSignal,
    sampling: SamplingConfig | None = None,
    seed: int = 0,
    progress: bool = False,
    on_preview: Callable[[Preview], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Frame]:
    """Animate the person of a reference image; yields frames RGB uint8 [H, W, 3] in the driving signal's size.

    reference: RGB uint8, any size, fitted by scaling and centre cropping. sampling: default, the model's own.
    on_step: called with (step, steps) after each denoising step, at no cost; an exception in it ends the animation.
    Besides the latents, memory does not grow with the number of frames: they are decoded when they are consumed. The
    same seed gives the same frames, whatever the window batch (to rounding).
    Raises ValueError when width or height is not a multiple of the codec's factor, the window is longer than the motion
    layers reach, the scheduler is unknown, or the signal was drawn for a model with other conditions.
    """
    sampling = sampling or model.config.sampling
    _check(model, driving, sampling)

    def frames() -> Iterator[Frame]:
        latents = _sample(model, reference, driving, sampling, seed, progress, on_preview, on_step)
        for batch in tqdm(latents.split(sampling.decode_batch), desc="decoding", unit="batch", disable=not progress):
            yield from _decode(model, batch)

    return frames()


def _check(model: AnimationModel, driving: DrivingSignal, sampling: SamplingConfig) -> None:
    model.codec.check_size(driving.keypoints.width, driving.keypoints.height)
    model.schedule.scheduler(sampling.scheduler)
    wanted, given = model.config.conditions.channels, driving.conditions.channels
    if given != wanted:
        raise ValueError(
            f"the driving signal shows {', '.join(given)}, the model reads {', '.join(wanted)}: make it with the "
            "model's own conditions"
        )
    reach = model.config.network.motion_max_frames
    if model.animator.has_motion and sampling.window > reach:
        raise ValueError(f"window is {sampling.window} frames, but the model's motion layers reach over {reach} only")


@torch.no_grad()
def _sample(
    model: AnimationModel,
    reference: Frame,
    driving: DrivingSignal,
    sampling: SamplingConfig,
    seed: int,
    progress: bool,
    on_preview: Callable[[Preview], None] | None,
    on_step: Callable[[int, int], None] | None,
) -> Tensor:
    """Latents of the whole clip, float32 [N, C, h, w]."""
    keypoints = driving.keypoints
    device = next(model.animator.parameters()).device
    picture = to_tensor(fit_to_size(reference, keypoints.width, keypoints.height))[None].to(device)
    reference_latents = model.codec.encode(picture)[0]
    token = model.image_encoder(picture) if model.image_encoder else zero_image_token(model.animator, 1, picture)
    predictor = GuidedPredictor(
        model.animator,
        reference_latents,
        token[0],
        _control_images(driving, device),
        sampling.guidance,
        sampling.guidance_scale,
    )
    with tqdm(total=sampling.steps, desc="sampling", unit="step", disable=not progress) as bar:

        def after_step(step: int, steps: int, clean: Tensor) -> None:
            bar.total = steps
            bar.update(step - bar.n)
            if on_step is not None:
                on_step(step, steps)
            if on_preview is not None:
                middle = len(clean) // 2
                on_preview(Preview(step, steps, _decode(model, clean[middle : middle + 1])[0]))

        generator = torch.Generator().manual_seed(seed)
        return sample_latents(
            predictor, reference_latents, len(keypoints), model.schedule, sampling, generator, after_step
        )


@torch.no_grad()
def _decode(model: AnimationModel, latents: Tensor) -> Frame:
    """latents [n, C, h, w] → uint8 [n, H, W, 3]"""
    return to_frames(model.codec.decode(latents))


def _control_images(driving: DrivingSignal, device: torch.device) -> Callable[[Sequence[int]], Tensor]:
    """Control images [n, K, H, W] by frame numbers, drawn when first needed."""
    kept: dict[int, NDArray[np.float32]] = {}
    pixels = driving.keypoints.width * driving.keypoints.height
    most = CONTROL_CACHE_BYTES // (driving.conditions.num_channels * 4 * pixels)

    def control_image(frame: int) -> NDArray[np.float32]:
        if frame in kept:
            return kept[frame]
        image = driving.control_image(frame)
        # Never evicted: every step walks over all frames, so the least recently used is the next one needed.
        if len(kept) < most:
            kept[frame] = image
        return image

    def control_images(frames: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([control_image(frame) for frame in frames])).to(device)

    return control_images
