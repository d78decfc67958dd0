"""The guided predictor of the sampler: the animator with classifier-free guidance, nothing computed twice.

The reference's keys and values are projected once per clip. The pose branch runs once per frame and step, also where
windows overlap, and never for the null branch.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from hia.diffusion.guidance import animation_guidance
from hia.models.animator import Animator, Residuals
from hia.models.reference import KeysValues

ControlImages = Callable[[Sequence[int]], Tensor]
"""Frame numbers → control images [n, K, H, W]."""


class GuidedPredictor:
    """Prediction for windows of one clip, guided as configured (eq. 4).

    guidance `none`: the conditional prediction alone; `animation`: the null branch has neither reference nor control
    nor image token; `reference`: it keeps the control. A guidance scale of 1 is no guidance and costs one pass.
    """

    def __init__(
        self,
        animator: Animator,
        reference_latents: Tensor,
        image_token: Tensor,
        control_images: ControlImages,
        guidance: str = "animation",
        guidance_scale: float = 3.5,
    ) -> None:
        """reference_latents [C, h, w]; image_token [1, D]; both are cast to the animator's type."""
        self.animator = animator
        self.dtype = next(animator.parameters()).dtype
        self.image_token = image_token[None].to(self.dtype)
        self.control_images = control_images
        self.guidance = "none" if guidance_scale == 1 else guidance
        self.guidance_scale = guidance_scale
        self.reference = animator.encode_reference(reference_latents[None].to(self.dtype), self.image_token)
        self._residuals = _FrameResiduals()

    def __call__(self, latents: Tensor, timestep: Tensor, windows: Sequence[range]) -> Tensor:
        """latents [W, F, C, h, w], timestep scalar → prediction [W, F, C, h, w].

        Windows come in ascending order, over one or several calls; the one at frame 0 begins a new evaluation.
        """
        latents = latents.to(self.dtype)
        timesteps = timestep.expand(len(windows))
        residuals = self._control(latents, timestep, windows)
        token = self.image_token.expand(len(windows), -1, -1)
        reference = _expand(self.reference, len(windows))
        conditional = self.animator.denoise(latents, timesteps, token, reference, residuals)
        if self.guidance == "none":
            return conditional
        null_residuals = residuals if self.guidance == "reference" else None
        null = self.animator.denoise(latents, timesteps, torch.zeros_like(token), residuals=null_residuals)
        return animation_guidance(null, conditional, self.guidance_scale)

    def _control(self, latents: Tensor, timestep: Tensor, windows: Sequence[range]) -> Residuals:
        """Residuals of the windows' frames in order; only frames new in this step run through the pose branch."""
        if windows[0].start == 0:  # a new sweep over the clip: the latents have changed
            self._residuals.clear()
        self._residuals.forget_before(windows[0].start)
        frame_latents = {
            frame: latents[row, column] for row, window in enumerate(windows) for column, frame in enumerate(window)
        }
        new = [frame for frame in frame_latents if frame not in self._residuals]
        if new:
            self._residuals.add(
                new,
                self.animator.control_residuals(
                    torch.stack([frame_latents[frame] for frame in new]),
                    timestep.expand(len(new)),
                    self.control_images(new).to(latents),
                    self.image_token.expand(len(new), -1, -1),
                ),
            )
        return self._residuals.gather(frame for window in windows for frame in window)


class _FrameResiduals:
    """Residuals by frame within one step, of no more frames than one batch of windows needs."""

    def __init__(self) -> None:
        self._by_frame: dict[int, list[Tensor]] = {}

    def __contains__(self, frame: int) -> bool:
        return frame in self._by_frame

    def clear(self) -> None:
        self._by_frame.clear()

    def add(self, frames: Sequence[int], residuals: Residuals) -> None:
        for row, frame in enumerate(frames):
            self._by_frame[frame] = [tensor[row] for tensor in residuals]

    def gather(self, frames: Iterable[int]) -> Residuals:
        return tuple(torch.stack(tensors) for tensors in zip(*(self._by_frame[f] for f in frames), strict=True))

    def forget_before(self, frame: int) -> None:
        # Copies: as rows of their batch, the few that stay would keep all of it in memory.
        self._by_frame = {
            known: [tensor.clone() for tensor in tensors] for known, tensors in self._by_frame.items() if known >= frame
        }


def _expand(reference: KeysValues, batch: int) -> KeysValues:
    """One clip's keys and values for several of its windows, without a copy."""
    return {name: (k.expand(batch, -1, -1), v.expand(batch, -1, -1)) for name, (k, v) in reference.items()}
