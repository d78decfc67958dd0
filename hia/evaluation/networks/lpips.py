"""LPIPS, version 0.1 (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018)."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hia.weights.load import FrozenModule

Trunk = Literal["alex", "vgg"]

# Mean and scale of the trunks' inputs in [−1, 1], per channel: ImageNet's statistics on that scale.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Added to the length of a feature vector, so that one of zeros can be divided by it.
LEAST_LENGTH = 1e-10
# Per trunk: the layers of torchvision's `features` that are compared, all of them ReLUs, and their channels.
TAPS: dict[Trunk, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
}
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Lpips(FrozenModule):
    """Perceptual distance of pictures; parameters are named as torchvision and the lpips package name them."""

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.taps = TAPS[trunk]
        self.features = _alexnet() if trunk == "alex" else _vgg16()
        for number, channels in enumerate(self.taps.values()):
            # The weight of every channel's squared difference: `lin0.model.1.weight`, as dropout comes before it.
            weights = nn.Conv2d(channels, 1, 1, bias=False)
            self.add_module(f"lin{number}", nn.ModuleDict({"model": nn.Sequential(nn.Dropout(), weights)}))
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.freeze()

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances [B] of pictures [B, 3, H, W], by its definition in [−1, 1]."""
        layers = zip(self._directions(one), self._directions(other), strict=True)
        total = one.new_zeros(len(one))
        for number, (direction, other_direction) in enumerate(layers):
            weigh = self.get_submodule(f"lin{number}.model")
            total = total + weigh((direction - other_direction).square()).mean(dim=(1, 2, 3))
        return total

    def _directions(self, pictures: Tensor) -> list[Tensor]:
        """Feature vectors of the tapped layers, each of length one."""
        found, features = [], (pictures - self.shift) / self.scale
        for index, layer in enumerate(self.features):
            features = layer(features)
            if index in self.taps:
                found.append(features / (features.square().sum(dim=1, keepdim=True).sqrt() + LEAST_LENGTH))
        return found


def _alexnet() -> nn.Sequential:
    """`features` of torchvision's AlexNet, up to the last layer that is compared."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """`features` of torchvision's VGG16, without the last pooling, after which nothing is compared."""
    layers: list[nn.Module] = []
    channels = 3
    for block in VGG16_BLOCKS:
        for before, after in pairwise((channels, *block)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        channels = block[-1]
    return nn.Sequential(*layers[:-1])
