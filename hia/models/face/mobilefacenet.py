"""MobileFaceNet: a face embedder of one million weights (Chen et al., MobileFaceNets, 2018).

The variant and the parameter names are those of github.com/foamliu/MobileFaceNet (Apache-2.0), whose
published weights load unchanged: ReLU6 where the paper has PReLU, 128 dimensions.
"""

from torch import Tensor, nn

SETTINGS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Inverted residual blocks: expansion, channels, number of blocks, stride of the first block."""


def conv_norm_relu6(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with BatchNorm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        features = self.bn1(self.depthwise(features)).relu()
        return self.bn2(self.pointwise(features)).relu()


class InvertedResidual(nn.Module):
    """Widen, filter depthwise, narrow; with a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            conv_norm_relu6(in_channels, hidden, 1),
            conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv(features) if self.shortcut else self.conv(features)


class GlobalDepthwise(nn.Module):
    """A weighted mean over the last 7x7 map, with weights of its own for every channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn(self.depthwise(features))


class MobileFaceNet(nn.Module):
    """Aligned faces [B, 3, 112, 112], ImageNet-normalised RGB -> embeddings [B, 128], not normalised."""

    dimension = 128

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu6(3, 64, 3, stride=2)
        self.dw_conv = DepthwiseSeparable(64)
        self.features = nn.Sequential(*_inverted_residuals(64))
        self.conv2 = conv_norm_relu6(128, 512, 1)
        self.gdconv = GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, self.dimension, 1)
        self.bn = nn.BatchNorm2d(self.dimension)

    def forward(self, faces: Tensor) -> Tensor:
        features = self.conv2(self.features(self.dw_conv(self.conv1(faces))))
        return self.bn(self.conv3(self.gdconv(features))).flatten(1)


def _inverted_residuals(channels: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for expansion, out_channels, count, first_stride in SETTINGS:
        for stride in (first_stride, *[1] * (count - 1)):
            blocks.append(InvertedResidual(channels, out_channels, stride, expansion))
            channels = out_channels
    return blocks
