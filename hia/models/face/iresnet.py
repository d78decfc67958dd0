"""IResNet, the residual network of ArcFace (Deng et al., CVPR 2019; improved by Duta et al., ICPR 2020).

Parameter names are those of InsightFace's PyTorch backbones, whose state dictionaries load unchanged.
`iresnet_from_onnx` reads the ONNX files that InsightFace publishes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hia.models.face.onnx_graph import OnnxGraph, OnnxNode
from hia.weights.load import load_strict

BLOCKS_BY_DEPTH = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
WIDTHS = (64, 128, 256, 512)
STAGES = 4
EPSILON = 1e-5
FINAL_SIZE = 7
"""Side of the last feature map: 112 pixels halved by four stages."""


class ResidualUnit(nn.Module):
    """bn, conv, bn, prelu, conv with the stride, bn; the shortcut is a 1x1 convolution where that is 2."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity() if stride == 1 else _downsample(in_channels, out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        residual = self.prelu(self.bn2(self.conv1(self.bn1(features))))
        return self.bn3(self.conv2(residual)) + self.downsample(features)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class IResNet(nn.Module):
    """Aligned RGB faces [B, 3, 112, 112] in [-1, 1] -> embeddings [B, dimension], not normalised.

    `blocks` are the numbers of residual units of the four stages, `widths` the stages' channels.
    """

    def __init__(
        self,
        blocks: Sequence[int] = BLOCKS_BY_DEPTH[100],
        widths: Sequence[int] = WIDTHS,
        dimension: int = 512,
    ) -> None:
        super().__init__()
        self.blocks, self.dimension = tuple(blocks), dimension
        stem, last = widths[0], widths[-1]
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        self.layer1 = _stage(stem, widths[0], blocks[0])
        self.layer2 = _stage(widths[0], widths[1], blocks[1])
        self.layer3 = _stage(widths[1], widths[2], blocks[2])
        self.layer4 = _stage(widths[2], widths[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last * FINAL_SIZE**2, dimension)
        self.features = nn.BatchNorm1d(dimension)

    def forward(self, faces: Tensor) -> Tensor:
        features = self.prelu(self.bn1(self.conv1(faces)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.features(self.fc(self.bn2(features).flatten(1)))


def _stage(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    rest = [ResidualUnit(out_channels, out_channels, stride=1) for _ in range(count - 1)]
    return nn.Sequential(ResidualUnit(in_channels, out_channels, stride=2), *rest)


def iresnet_from_state(state: dict[str, Tensor], file: Path | str) -> IResNet:
    """The IResNet whose parameters `state` holds, its depth and widths read off the names and shapes.

    Raises ValueError, naming `file`, if the state is not that of an IResNet.
    """
    units = [
        [key for key in state if key.startswith(f"layer{i}.") and key.endswith(".bn1.weight")] for i in range(1, 5)
    ]
    try:
        widths = [len(state[f"layer{stage}.0.bn3.weight"]) for stage in range(1, STAGES + 1)]
        network = IResNet([len(keys) for keys in units], widths, len(state["fc.bias"]))
    except KeyError as error:
        raise ValueError(f"{file}: not the weights of an IResNet, it has no {error}") from error
    load_strict(network, state, file)
    return network


def iresnet_from_onnx(path: Path | str) -> IResNet:
    """The network of an InsightFace recognition file (w600k_r50.onnx, glintr100.onnx) as a torch module.

    Exact, whether or not BatchNorms are folded into the convolutions before them. Raises ValueError, naming
    the node, for a graph of another architecture, and for tensors kept outside of the file.
    """
    return iresnet_from_state(_GraphReader(OnnxGraph(path)).read(), path)


class _GraphReader:
    """Follows an IResNet's graph from its input and gives each weight its name in IResNet."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.state: dict[str, Tensor] = {}

    def read(self) -> dict[str, Tensor]:
        tensor = self.convolution(self.graph.input, "conv1", "bn1", kernel=3, stride=1)
        tensor = self.prelu(tensor, "prelu")
        stage, index = 0, 0
        while self.graph.consumers(tensor) != ["BatchNormalization"]:
            # Only the first unit of a stage has no direct shortcut to its sum.
            starts_stage = "Add" not in self.graph.consumers(tensor)
            stage, index = (stage + 1, 0) if starts_stage else (stage, index + 1)
            tensor = self.unit(tensor, f"layer{stage}.{index}", stride=2 if starts_stage else 1)
        self.graph.finish(self.head(tensor))
        return self.state

    def unit(self, tensor: str, name: str, stride: int) -> str:
        residual = self.normalisation(tensor, f"{name}.bn1")
        residual = self.convolution(residual, f"{name}.conv1", f"{name}.bn2", kernel=3, stride=1)
        residual = self.prelu(residual, f"{name}.prelu")
        residual = self.convolution(residual, f"{name}.conv2", f"{name}.bn3", kernel=3, stride=stride)
        shortcut = tensor
        if stride != 1:
            names = f"{name}.downsample.0", f"{name}.downsample.1"
            shortcut = self.convolution(tensor, *names, kernel=1, stride=stride)
        total = self.graph.take(residual, "Add")
        if shortcut not in total.inputs:
            raise self.graph.refusal(total, f"the sum of {residual!r} and {shortcut!r}")
        return total.output

    def head(self, tensor: str) -> str:
        tensor = self.graph.take(self.normalisation(tensor, "bn2"), "Flatten", "Reshape").output
        linear = self.graph.take(tensor, "Gemm")
        if linear.attributes.get("alpha", 1) != 1 or linear.attributes.get("beta", 1) != 1:
            raise self.graph.refusal(linear, "a Gemm without scaling")
        weight = self.graph.weight(linear, 1)
        self.state["fc.weight"] = weight if linear.attributes.get("transB", 0) else weight.T.contiguous()
        self.state["fc.bias"] = self.bias(linear, len(self.state["fc.weight"]))
        if self.graph.consumers(linear.output):
            return self.normalisation(linear.output, "features")
        self.identity_normalisation("features", torch.zeros_like(self.state["fc.bias"]))
        return linear.output

    def convolution(self, tensor: str, name: str, norm: str, *, kernel: int, stride: int) -> str:
        """A convolution and the BatchNorm after it, which may be folded into the convolution."""
        node = self.graph.take(tensor, "Conv")
        geometry = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [kernel // 2] * 4,
            "group": 1,
        }
        for key, expected in geometry.items():
            if node.attributes.get(key, expected) != expected:
                raise self.graph.refusal(node, f"{key} {expected}, not {node.attributes[key]}")
        self.state[f"{name}.weight"] = self.graph.weight(node, 1)
        bias = self.bias(node, len(self.state[f"{name}.weight"]))
        if "BatchNormalization" not in self.graph.consumers(node.output):
            self.identity_normalisation(norm, bias)
            return node.output
        output = self.normalisation(node.output, norm)
        self.state[f"{norm}.running_mean"] = self.state[f"{norm}.running_mean"] - bias
        return output

    def normalisation(self, tensor: str, name: str) -> str:
        node = self.graph.take(tensor, "BatchNormalization")
        keys = "weight", "bias", "running_mean", "running_var"
        self.state |= {f"{name}.{key}": self.graph.weight(node, i) for i, key in enumerate(keys, start=1)}
        # The variance makes up for an epsilon other than torch's, so that the state alone says it all.
        self.state[f"{name}.running_var"] = (
            self.state[f"{name}.running_var"] + node.attributes.get("epsilon", EPSILON) - EPSILON
        )
        return node.output

    def identity_normalisation(self, name: str, bias: Tensor) -> None:
        """A BatchNorm that only adds `bias`."""
        one, zero = torch.ones_like(bias), torch.zeros_like(bias)
        statistics = {"weight": one, "bias": bias, "running_mean": zero, "running_var": one - EPSILON}
        self.state |= {f"{name}.{key}": value for key, value in statistics.items()}

    def bias(self, node: OnnxNode, size: int) -> Tensor:
        return self.graph.weight(node, 2) if len(node.inputs) > 2 else torch.zeros(size)

    def prelu(self, tensor: str, name: str) -> str:
        node = self.graph.take(tensor, "PRelu")
        self.state[f"{name}.weight"] = self.graph.weight(node, 1).flatten()
        return node.output
