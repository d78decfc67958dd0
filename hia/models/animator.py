"""The animator: appearance encoder, pose branch and denoiser, joined by reference attention (paper sec. 3, Fig. 2)."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

from hia.models.pose_guider import PoseGuider, install_guided_convolution
from hia.models.reference import AppearanceEncoder, KeysValues, install_reference_attention, reference_keys_values

Residuals = tuple[Tensor, ...]
"""Output of the pose branch, added to the denoiser's features, every tensor [N, C, h', w']: of a ControlNet to the skip
connections of the down blocks, in their order, and then to the middle block; of a pose guider to the output of the
first convolution."""


class Animator(nn.Module):
    """Predicts the noise of a clip from its noisy latents, a reference image and the driving signal.

    pose_branch: a ControlNet (the paper's) or a light pose guider, through which the control image enters; stored as
    `controlnet` or `pose_guider`, the other one is None.
    unet: 2D for the spatial stages, with motion layers for the temporal ones.
    attention: `sdpa` or `xformers`, the kernel of all spatial attentions.
    """

    def __init__(
        self,
        appearance_encoder: AppearanceEncoder,
        pose_branch: ControlNetModel | PoseGuider,
        unet: UNet2DConditionModel | UNetMotionModel,
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        self.appearance_encoder = appearance_encoder
        self.controlnet = pose_branch if isinstance(pose_branch, ControlNetModel) else None
        self.pose_guider = pose_branch if isinstance(pose_branch, PoseGuider) else None
        self.unet = unet
        self.attention = attention
        for network in (appearance_encoder.unet, pose_branch, unet):
            install_reference_attention(network, attention)
        if self.pose_guider is not None:
            install_guided_convolution(unet)

    # ------------------------------------------------------------------------------------------------- forward

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        reference_latents: Tensor,
        control: Tensor,
        image_token: Tensor,
        keep: Tensor | None = None,
        keep_control: Tensor | None = None,
    ) -> Tensor:
        """Prediction for the noisy latents.

        noisy_latents [B, F, C, h, w]; timesteps int [B]; reference_latents [B, C, h, w]; control [B, F, K, H, W];
        image_token [B, 1, D]; keep bool [B], False drops reference, control and image token of that sample (the null
        branch of eq. 4); keep_control bool [B]: the same for the control alone, in place of `keep`
        →  [B, F, C, h, w].   The reference must have the size of the frames.
        """
        frames = noisy_latents.shape[1]
        reference = self.encode_reference(reference_latents, image_token)
        residuals = self.control_residuals(
            noisy_latents.flatten(0, 1),
            timesteps.repeat_interleave(frames),
            control.flatten(0, 1),
            image_token.repeat_interleave(frames, dim=0),
        )
        if keep is not None:
            keep_control = keep if keep_control is None else keep_control
            kept = keep_control.repeat_interleave(frames)[:, None, None, None]
            residuals = tuple(residual * kept for residual in residuals)
            image_token = image_token * keep[:, None, None]
        return self.denoise(noisy_latents, timesteps, image_token, reference, residuals, keep)

    def encode_reference(self, latents: Tensor, image_token: Tensor) -> KeysValues:
        """Keys and values of the reference for every self-attention.   latents [B, C, h, w]; image_token [B, 1, D]."""
        return reference_keys_values(self.unet, self.appearance_encoder(latents, image_token))

    def control_residuals(
        self, noisy_latents: Tensor, timesteps: Tensor, control: Tensor, image_token: Tensor
    ) -> Residuals:
        """The pose branch's residuals, each frame by itself; a pose guider looks at the control images alone.

        noisy_latents [N, C, h, w]; timesteps [N]; control [N, K, H, W]; image_token [N, 1, D].
        """
        if self.pose_guider is not None:
            return (self.pose_guider(control),)
        assert self.controlnet is not None
        down, mid = self.controlnet(noisy_latents, timesteps, image_token, control, return_dict=False)
        return (*down, mid)

    def denoise(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        image_token: Tensor,
        reference: KeysValues | None = None,
        residuals: Residuals | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """The denoiser alone; without reference and residuals it is eq. 4's null branch.

        noisy_latents [B, F, C, h, w]; timesteps [B]; image_token [B, 1, D]; residuals over B·F frames.
        """
        frames = noisy_latents.shape[1]
        conditions: dict[str, Any] = {
            "encoder_hidden_states": image_token.repeat_interleave(frames, dim=0),
            "cross_attention_kwargs": {"reference": reference, "keep": keep},
        }
        if residuals is not None and self.pose_guider is not None:
            guidance = residuals[0].unflatten(0, (-1, frames))
            noisy_latents = torch.cat([noisy_latents, guidance], dim=2)
        elif residuals is not None:
            *conditions["down_block_additional_residuals"], conditions["mid_block_additional_residual"] = residuals
        if self.has_motion:
            clip = noisy_latents.transpose(1, 2)
            return self.unet(clip, timesteps, **conditions, return_dict=False)[0].transpose(1, 2)
        flat = noisy_latents.flatten(0, 1)
        prediction = self.unet(flat, timesteps.repeat_interleave(frames), **conditions, return_dict=False)[0]
        return prediction.unflatten(0, (-1, frames))

    # -------------------------------------------------------------------------------------------------- weights

    @property
    def has_motion(self) -> bool:
        """True if the denoiser has motion layers."""
        return isinstance(self.unet, UNetMotionModel)

    @property
    def pose_branch(self) -> ControlNetModel | PoseGuider:
        """The module through which the control image enters."""
        branch = self.controlnet if self.pose_guider is None else self.pose_guider
        assert branch is not None
        return branch

    @property
    def pose_part(self) -> str:
        """The pose branch's name as a part: controlnet or pose_guider."""
        return "controlnet" if self.pose_guider is None else "pose_guider"

    @property
    def image_token_dim(self) -> int:
        """Width D of the image token."""
        return self.unet.config.cross_attention_dim

    def part(self, name: str) -> Iterator[nn.Parameter]:
        """The trainable weights of one part: appearance_encoder, controlnet or pose_guider, unet (without motion
        layers), motion.

        Raises ValueError for an unknown part, for the pose branch that this animator lacks, and for `motion` when the
        denoiser has no motion layers.
        """
        if name == "appearance_encoder":
            return self.appearance_encoder.trainable()
        if name == self.pose_part:
            return self.pose_branch.parameters()
        if name in ("controlnet", "pose_guider"):
            raise ValueError(f"part {name}: this animator has a {self.pose_part} instead (network.pose_branch)")
        if name not in ("unet", "motion"):
            raise ValueError(f"unknown part {name!r}: expected appearance_encoder, {self.pose_part}, unet or motion")
        if name == "motion" and not self.has_motion:
            raise ValueError("part motion: this animator has a 2D denoiser; add motion layers first (add_motion)")
        wanted = name == "motion"
        return (p for key, p in self.unet.named_parameters() if (".motion_modules." in key) == wanted)

    def train_only(self, parts: Iterable[str]) -> None:
        """Freeze all weights except those of the named parts."""
        selected = [parameter for name in parts for parameter in self.part(name)]
        self.requires_grad_(False)
        for parameter in selected:
            parameter.requires_grad_(True)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass, in the motion layers too (diffusers leaves those out)."""
        for network in (self.appearance_encoder.unet, self.pose_branch, self.unet):
            network.enable_gradient_checkpointing()
        apply_activation_checkpointing(self.unet, check_fn=_is_motion_layer)


def _is_motion_layer(module: nn.Module) -> bool:
    return isinstance(module, AnimateDiffTransformer3D)


def zero_image_token(animator: Animator, batch: int, like: Tensor) -> Tensor:
    """The image token of the null branch, and of models without an image encoder: zeros [B, 1, D]."""
    return torch.zeros(batch, 1, animator.image_token_dim, device=like.device, dtype=like.dtype)
