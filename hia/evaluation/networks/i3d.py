"""I3D (Carreira and Zisserman, "Quo Vadis, Action Recognition?", 2017): RGB, Kinetics-400, as FVD uses it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hia.weights.load import FrozenModule

# Per published graph: BatchNorm's epsilon, and how many of the last steps in time are averaged before the logits. All
# have the same weights, and published numbers of FVD come from each of them.
VARIANTS: dict[str, tuple[float, int]] = {"disco": (1e-3, 1), "videogpt": (1e-5, 2), "tensorflow": (1e-3, 2)}
NUM_CLASSES = 400

# Channels of the branches: 1×1; 1×1 then 3×3; 1×1 then 3×3; pooled then 1×1.
MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


class InceptionI3d(FrozenModule):
    """Clips to logits; parameters are named as in piergiaj's port, the form of the published weights."""

    def __init__(self, variant: str = "disco") -> None:
        super().__init__()
        epsilon, self.last_steps = VARIANTS[variant]
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, epsilon, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1, epsilon)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3, epsilon)
        for name, channels in MIXED.items():
            self.add_module(name, Mixed(channels, epsilon))
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(1024, NUM_CLASSES, 1)})
        self.freeze()

    def forward(self, clips: Tensor) -> Tensor:
        """Logits [B, 400] of RGB clips [B, 3, F, 224, 224] in [−1, 1], the mean over time; F at least 9."""
        features = max_pool(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        features = max_pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(features)), (1, 3, 3), (1, 2, 2))
        features = max_pool(self._mixed(features, "3b", "3c"), (3, 3, 3), (2, 2, 2))
        features = max_pool(self._mixed(features, "4b", "4c", "4d", "4e", "4f"), (2, 2, 2), (2, 2, 2))
        features = self._mixed(features, "5b", "5c")
        features = functional.avg_pool3d(features, (self.last_steps, 7, 7), stride=1)
        return self.logits["conv3d"](features)[..., 0, 0].mean(dim=2)

    def _mixed(self, features: Tensor, *names: str) -> Tensor:
        for name in names:
            features = self.get_submodule(f"Mixed_{name}")(features)
        return features


class Unit(nn.Module):
    """Convolution with TensorFlow's padding, BatchNorm, ReLU."""

    def __init__(self, before: int, after: int, kernel: int, epsilon: float, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(before, after, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(after, eps=epsilon)

    def forward(self, features: Tensor) -> Tensor:
        padded = pad_same(features, self.conv3d.kernel_size, self.conv3d.stride)
        return self.bn(self.conv3d(padded)).relu()


class Mixed(nn.Module):
    """Four branches beside each other."""

    def __init__(self, channels: Sequence[int], epsilon: float) -> None:
        super().__init__()
        before, direct, narrow, wide, narrow_too, wide_too, pooled = channels
        self.b0 = Unit(before, direct, 1, epsilon)
        self.b1a, self.b1b = Unit(before, narrow, 1, epsilon), Unit(narrow, wide, 3, epsilon)
        self.b2a, self.b2b = Unit(before, narrow_too, 1, epsilon), Unit(narrow_too, wide_too, 3, epsilon)
        self.b3b = Unit(before, pooled, 1, epsilon)

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.b3b(max_pool(features, (3, 3, 3), (1, 1, 1)))
        branches = self.b0(features), self.b1b(self.b1a(features)), self.b2b(self.b2a(features)), pooled
        return torch.cat(branches, dim=1)


def max_pool(features: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """TensorFlow's `SAME` pooling of features that are not negative."""
    return functional.max_pool3d(pad_same(features, kernel, stride), tuple(kernel), tuple(stride))


def pad_same(features: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around [B, C, F, H, W] as TensorFlow's `SAME` has them: the odd one at the end."""
    padding: list[int] = []
    for size, length, step in zip(reversed(features.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(length - (size % step or step), 0)
        padding += [total // 2, total - total // 2]
    return functional.pad(features, padding)
