"""Face embeddings for the identity loss (eq. 2) and metric, differentiable down to the pixels."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hia.models.face.alignment import align_faces
from hia.models.face.iresnet import IResNet, iresnet_from_onnx, iresnet_from_state
from hia.models.face.mobilefacenet import MobileFaceNet
from hia.weights import FrozenModule, find_weights, load_state, load_strict

Colour = tuple[float, float, float]

IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)
HALF: Colour = (0.5, 0.5, 0.5)


KNOWN_WEIGHTS = {
    "mobilefacenet": (
        ("mobilefacenet.safetensors", "mobilefacenet.pt"),
        "weights/mobilefacenet.pt of github.com/foamliu/MobileFaceNet (Apache-2.0), 4 MB; put it, or a copy"
        " named mobilefacenet.safetensors, into a folder of $HIA_WEIGHTS",
    ),
    "arcface": (
        ("buffalo_l/w600k_r50.onnx", "antelopev2/glintr100.onnx", "w600k_r50.onnx", "glintr100.onnx"),
        "the model pack buffalo_l or antelopev2 of InsightFace (non-commercial research only): unpack it from"
        " the releases of github.com/deepinsight/insightface into ~/.insightface/models/ or into a folder of"
        " $HIA_WEIGHTS. 'mobilefacenet' is a smaller face embedder with a free licence",
    ),
}
"""By name: the files in order of preference, and how to get one."""


class FaceEmbedder(FrozenModule):
    """Images and five facial points to unit embeddings.

    Frozen and always in evaluation mode; the gradient reaches the images. `network` sees aligned faces of
    112x112 in [0, 1], normalised with `mean` and `std` per RGB channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, name: str, dimension: int, mean: Colour, std: Colour) -> None:
        super().__init__()
        self.network, self.name, self.dimension = network, name, dimension
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.freeze()

    def forward(self, images: Tensor, five_points: Tensor) -> Tensor:
        """images [B, 3, H, W] in [-1, 1], five_points [B, 5, 2] as for `align_faces` -> [B, dimension]."""
        faces = align_faces(images, five_points)
        normalised = ((faces + 1) / 2 - self.mean) / self.std
        weight = next(self.network.parameters())
        return functional.normalize(self.network(normalised.to(weight.dtype)).float(), dim=-1)


def mobilefacenet_embedder(network: MobileFaceNet) -> FaceEmbedder:
    """Around foamliu's MobileFaceNet, which was trained on ImageNet-normalised RGB."""
    return FaceEmbedder(
        network, name="mobilefacenet", dimension=network.dimension, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )


def arcface_embedder(network: IResNet) -> FaceEmbedder:
    """Around InsightFace's IResNet, which was trained on RGB in [-1, 1]: (x - 127.5) / 127.5 for bytes."""
    return FaceEmbedder(network, name="arcface", dimension=network.dimension, mean=HALF, std=HALF)


def load_face_embedder(name_or_path: str) -> FaceEmbedder:
    """`mobilefacenet`, `arcface` (the paper's InsightFace), or a weight file of either (.onnx or a state).

    The file is looked for as `hia.weights.find_weights` says. Raises MissingWeights if it is not there, and
    ValueError if it is broken or of another architecture.
    """
    other = (name_or_path,), f"name one of {', '.join(KNOWN_WEIGHTS)}, or give the path of a weight file"
    names, hint = KNOWN_WEIGHTS.get(name_or_path, other)
    return _embedder_from_file(find_weights(*names, hint=hint))


def _embedder_from_file(file: Path) -> FaceEmbedder:
    if file.suffix == ".onnx":
        return arcface_embedder(iresnet_from_onnx(file))
    state = load_state(file)
    if "gdconv.depthwise.weight" not in state:
        return arcface_embedder(iresnet_from_state(state, file))
    network = MobileFaceNet()
    load_strict(network, state, file)
    return mobilefacenet_embedder(network)
