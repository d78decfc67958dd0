"""The Inception network of FID: TensorFlow's of 2015-12-05, in the graph of pytorch-fid, not torchvision's.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016; Heusel et al., "GANs Trained by a Two
Time-Scale Update Rule", 2017.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hia.weights.load import FrozenModule

EPSILON = 1e-3
Kernel = int | tuple[int, int]


class FidInception(FrozenModule):
    """Pictures to the 2048 features of the last pooling; parameters are named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padding=0)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, "mean"), BlockE(2048, "maximum")
        self.freeze()

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, 2048] of RGB pictures [B, 3, 299, 299] in [−1, 1]."""
        features = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        features = functional.max_pool2d(features, 3, stride=2)
        features = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(features)), 3, stride=2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            features = self.get_submodule(f"Mixed_{name}")(features)
        return features.mean(dim=(2, 3))


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU. Keeps the size, unless it has a stride or another padding."""

    def __init__(self, before: int, after: int, kernel: Kernel, stride: int = 1, padding: Kernel | None = None) -> None:
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        if padding is None:
            padding = (high // 2, wide // 2) if stride == 1 else 0
        self.conv = nn.Conv2d(before, after, (high, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn(self.conv(features)).relu()


class BlockA(nn.Module):
    def __init__(self, before: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(before, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(before, 48, 1), Unit(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(before, 64, 1), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3)
        self.branch_pool = Unit(before, pooled, 1)

    def forward(self, features: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        five = self.branch5x5_2(self.branch5x5_1(features))
        return torch.cat([self.branch1x1(features), five, double, self.branch_pool(mean_pool(features))], dim=1)


class BlockB(nn.Module):
    """A block that halves the size."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(before, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(before, 64, 1), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        return torch.cat([self.branch3x3(features), double, functional.max_pool2d(features, 3, stride=2)], dim=1)


class BlockC(nn.Module):
    def __init__(self, before: int, inside: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(before, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Unit(before, inside, 1), Unit(inside, inside, (1, 7))
        self.branch7x7_3 = Unit(inside, 192, (7, 1))
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(before, inside, 1), Unit(inside, inside, (7, 1))
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(inside, inside, (1, 7)), Unit(inside, inside, (7, 1))
        self.branch7x7dbl_5 = Unit(inside, 192, (1, 7))
        self.branch_pool = Unit(before, 192, 1)

    def forward(self, features: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(features)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(features)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(features), seven, double, self.branch_pool(mean_pool(features))], dim=1)


class BlockD(nn.Module):
    """A block that halves the size."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(before, 192, 1), Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(before, 192, 1), Unit(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1)), Unit(192, 192, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(features))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(features))))
        return torch.cat([three, seven, functional.max_pool2d(features, 3, stride=2)], dim=1)


class BlockE(nn.Module):
    """A block of the last kind. pooling: the last block's is the maximum, by mistake perhaps, but as published."""

    def __init__(self, before: int, pooling: Literal["mean", "maximum"]) -> None:
        super().__init__()
        self.pooling = pooling
        self.branch1x1 = Unit(before, 320, 1)
        self.branch3x3_1 = Unit(before, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, (1, 3)), Unit(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(before, 448, 1), Unit(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, (1, 3)), Unit(384, 384, (3, 1))
        self.branch_pool = Unit(before, 192, 1)

    def forward(self, features: Tensor) -> Tensor:
        three = self.branch3x3_1(features)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(features))
        split = self.branch3x3_2a(three), self.branch3x3_2b(three)
        split_double = self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)
        pooled = mean_pool(features) if self.pooling == "mean" else functional.max_pool2d(features, 3, 1, padding=1)
        return torch.cat([self.branch1x1(features), *split, *split_double, self.branch_pool(pooled)], dim=1)


def mean_pool(features: Tensor) -> Tensor:
    """3×3 means; as in TensorFlow, the zeros outside of the picture are not counted."""
    return functional.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
