"""The 3D ResNet-50 of FID-VID (Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs?", 2018)."""

from torch import Tensor, nn
from torch.nn import functional

from hia.weights.load import FrozenModule

# Blocks of every stage of a ResNet-50, and the channels inside them; four times as many leave a block.
BLOCKS, WIDTHS, EXPANSION = (3, 4, 6, 3), (64, 128, 256, 512), 4
NUM_CLASSES = 400


class ResNet3d(FrozenModule):
    """Clips to the 2048 features before the classes; shortcut B, parameters named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        before = 64
        for number, (blocks, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True), start=1):
            first = Bottleneck(before, width, stride=1 if number == 1 else 2, reshapes=True)
            before = width * EXPANSION
            others = [Bottleneck(before, width) for _ in range(1, blocks)]
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
        # The classes are not used, but distinguish the published network from those trained on other data.
        self.fc = nn.Linear(before, NUM_CLASSES)
        self.freeze()

    def forward(self, clips: Tensor) -> Tensor:
        """Features [B, 2048] of RGB clips [B, 3, 16, 112, 112] on 0–255 less their mean."""
        features = functional.max_pool3d(self.bn1(self.conv1(clips)).relu(), 3, stride=2, padding=1)
        for number in range(1, len(BLOCKS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return functional.avg_pool3d(features, (1, 4, 4), stride=1).flatten(1)


class Bottleneck(nn.Module):
    """Narrow, filter, widen, beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int = 1, reshapes: bool = False) -> None:
        super().__init__()
        after = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv3d(before, width, 1, bias=False), nn.BatchNorm3d(width)
        self.conv2, self.bn2 = nn.Conv3d(width, width, 3, stride, padding=1, bias=False), nn.BatchNorm3d(width)
        self.conv3, self.bn3 = nn.Conv3d(width, after, 1, bias=False), nn.BatchNorm3d(after)
        shortcut = nn.Sequential(nn.Conv3d(before, after, 1, stride, bias=False), nn.BatchNorm3d(after))
        self.downsample: nn.Module | None = shortcut if reshapes else None

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        features = self.bn1(self.conv1(features)).relu()
        features = self.bn2(self.conv2(features)).relu()
        return (self.bn3(self.conv3(features)) + shortcut).relu()
