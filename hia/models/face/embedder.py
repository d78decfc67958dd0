"""Face embeddings for the identity loss (eq. 2) and metric, differentiable down to the pixels."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hia.models.face.iresnet import IResNet, iresnet_from_onnx, iresnet_from_state
from hia.models.face.mobilefacenet import MobileFaceNet
from hia.weights.find import FACE_EMBEDDERS, find_weights
from hia.weights.load import FrozenModule, load_state, load_strict

Colour = tuple[float, float, float]
IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)
HALF: Colour = (0.5, 0.5, 0.5)


TEMPLATE_SIZE = 112
ARCFACE_TEMPLATE = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Positions of eyes, nose tip and mouth corners in a 112x112 face (x, y in pixels), image-left first.

The alignment that ArcFace and its successors were trained with (Deng et al., CVPR 2019; InsightFace).
"""


SMALLEST_SPREAD = 1e-6


class FaceEmbedder(FrozenModule):
    """A face embedder: images and five facial points to unit embeddings.

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
    """Face embedder around foamliu's MobileFaceNet, which was trained on ImageNet-normalised RGB."""
    return FaceEmbedder(
        network, name="mobilefacenet", dimension=network.dimension, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )


def arcface_embedder(network: IResNet) -> FaceEmbedder:
    """Face embedder around InsightFace's IResNet, trained on RGB in [-1, 1]: (x - 127.5) / 127.5 for bytes."""
    return FaceEmbedder(network, name="arcface", dimension=network.dimension, mean=HALF, std=HALF)


def load_face_embedder(name_or_path: str) -> FaceEmbedder:
    """Load `mobilefacenet`, `arcface` (the paper's InsightFace), or a weight file of either (.onnx or a state).

    The file is looked for as `hia.weights.find.find_weights` says. Raises MissingWeights if it is not there, and
    ValueError if it is broken or of another architecture.
    """
    other = (name_or_path,), f"name one of {', '.join(FACE_EMBEDDERS)}, or give the path of a weight file"
    names, hint = FACE_EMBEDDERS.get(name_or_path, other)
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


def similarity_transform(points: Tensor, template: Tensor) -> Tensor:
    """Least-squares rotation, uniform scale and translation that takes `points` to `template`.

    points [B, 5, 2], template [5, 2], both x, y in pixels -> [B, 2, 3], with template = M @ (x, y, 1).

    Umeyama's problem (1991) without reflection. In the plane it is linear: with both point sets centred, the
    matrix [[a, -b], [b, a]] that minimises the squared error has a = sum(p . t) / sum(|p|^2) and
    b = sum(p x t) / sum(|p|^2). Points that all coincide give a finite, meaningless transform.
    """
    template = template.to(points)
    source_centre = points.mean(dim=-2, keepdim=True)
    target_centre = template.mean(dim=-2)
    source, target = points - source_centre, template - target_centre
    spread = source.square().sum(dim=(-2, -1)).clamp(min=SMALLEST_SPREAD)
    cosine = (source * target).sum(dim=(-2, -1)) / spread
    sine = (source[..., 0] * target[..., 1] - source[..., 1] * target[..., 0]).sum(dim=-1) / spread
    linear = _rotation(cosine, sine)
    translation = target_centre[:, None] - linear @ source_centre.transpose(-2, -1)
    return torch.cat([linear, translation], dim=-1)


def align_faces(images: Tensor, five_points: Tensor, size: int = TEMPLATE_SIZE) -> Tensor:
    """Cut out upright faces: images [B, 3, H, W] in [-1, 1], five_points [B, 5, 2] -> [B, 3, size, size].

    `five_points` are x, y pixel indices (0 is the centre of the first pixel) of eyes, nose tip and mouth
    corners, image-left first. Bilinear and black outside of the image, as the networks' training data was
    aligned; without anti-aliasing, so a face much larger than `size` aliases. Computed in float32.
    """
    # Pixel indices count from pixel centres, so resizing the template goes through its pixels' edges.
    template = (ARCFACE_TEMPLATE + 0.5) * (size / TEMPLATE_SIZE) - 0.5
    transform = similarity_transform(five_points.float(), template.to(five_points.device))
    positions = _source_positions(transform, size)
    height, width = images.shape[-2:]
    # grid_sample with align_corners=False: -1 and 1 are the outer edges of the first and the last pixel.
    grid = (2 * positions + 1) / positions.new_tensor([width, height]) - 1
    # Zero is what lies outside of the image for grid_sample; shifted by one it is black.
    return functional.grid_sample(images.float() + 1, grid, mode="bilinear", align_corners=False) - 1


def _source_positions(transform: Tensor, size: int) -> Tensor:
    """Position in the image of every pixel of the aligned face: [B, 2, 3] -> [B, size, size, 2] (x, y)."""
    cosine, sine, translation = transform[:, 0, 0], transform[:, 1, 0], transform[:, :, 2]
    scale = (cosine.square() + sine.square()).clamp(min=SMALLEST_SPREAD)
    inverse = _rotation(cosine / scale, -sine / scale)
    index = torch.arange(size, device=transform.device, dtype=transform.dtype)
    y, x = torch.meshgrid(index, index, indexing="ij")
    target = torch.stack([x, y], dim=-1) - translation[:, None, None, :]
    return torch.einsum("bij,bvuj->bvui", inverse, target)


def _rotation(cosine: Tensor, sine: Tensor) -> Tensor:
    """[[cosine, -sine], [sine, cosine]] for every entry: [B], [B] -> [B, 2, 2]."""
    return torch.stack([torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)], dim=-2)
