"""The light pose branch: a few strided convolutions whose output is added behind the denoiser's first convolution.

After AnimateAnyone (Hu et al., 2024) and, with a guider for each kind of picture, Champ (Zhu et al., 2024, without the
self-attention at the end). The convolutions are those with which a ControlNet reads its image.
"""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn


class PoseGuider(ModelMixin, ConfigMixin):
    """Sum of the outputs of one guider for each group of the control image's channels; zero before training.

    control_channels: sizes of the groups, in order. out_channels: of the denoiser's first convolution. widths: of the
    guiders' own layers, the resolution is halved between neighbours.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        control_channels: tuple[int, ...] = (6,),
        out_channels: int = 320,
        widths: tuple[int, ...] = (16, 32, 96, 256),
    ) -> None:
        super().__init__()
        self.guiders = nn.ModuleList(
            ControlNetConditioningEmbedding(out_channels, channels, tuple(widths)) for channels in control_channels
        )
        self.group_sizes = list(control_channels)
        self.gradient_checkpointing = False

    def forward(self, control: Tensor) -> Tensor:
        """control [N, K, H, W] → [N, C, h, w], to be added to the denoiser's first features."""
        groups = control.split(self.group_sizes, dim=1)
        return torch.stack([self._guide(*pair) for pair in zip(self.guiders, groups, strict=True)]).sum(dim=0)

    def _guide(self, guider: nn.Module, group: Tensor) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(guider, group)
        return guider(group)


class GuidedConvolution(nn.Conv2d):
    """A UNet's first convolution that adds the extra channels of its input, behind its own, to its output.

    So guidance travels as data through a stock UNet, compiled or not. The weights keep their names: without guidance,
    and when it is saved, it is the convolution that it was made from.
    """

    def forward(self, input: Tensor) -> Tensor:
        """input [N, in_channels, h, w], or [N, in_channels + out_channels, h, w] with guidance."""
        features = super().forward(input[:, : self.in_channels])
        return features + input[:, self.in_channels :] if input.shape[1] > self.in_channels else features


def install_guided_convolution(unet: nn.Module) -> None:
    """Let the UNet's first convolution take guidance; its weights stay the same objects."""
    found = unet.get_submodule("conv_in")
    assert isinstance(found, nn.Conv2d)
    (kernel_size, _) = found.kernel_size
    guided = GuidedConvolution(
        found.in_channels, found.out_channels, kernel_size, padding=(kernel_size - 1) // 2, device="meta"
    )
    guided.weight, guided.bias = found.weight, found.bias
    unet.conv_in = guided
