"""Face alignment: five facial points to the ArcFace template, differentiable with respect to the image."""

import torch
from torch import Tensor
from torch.nn import functional

TEMPLATE_SIZE = 112

ARCFACE_TEMPLATE = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose tip and mouth corners lie in a 112x112 face (x, y in pixels), image-left first.

The alignment that ArcFace and its successors were trained with (Deng et al., CVPR 2019; InsightFace).
"""

SMALLEST_SPREAD = 1e-6


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
