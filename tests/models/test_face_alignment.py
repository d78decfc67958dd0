"""Face alignment: the similarity transform against scikit-image's, and where pixels land."""

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform

from hia.models.face import ARCFACE_TEMPLATE, align_faces, similarity_transform


def random_points(seed: int, count: int) -> torch.Tensor:
    """Faces of any rotation, size and place, with every point shifted a little: [count, 5, 2]."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(count, 1, generator=generator) * 2 * torch.pi
    size = torch.rand(count, 1, generator=generator) * 3 + 0.2
    centred = ARCFACE_TEMPLATE - ARCFACE_TEMPLATE.mean(dim=0)
    x, y = centred[:, 0], centred[:, 1]
    turned = torch.stack([angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y], dim=-1)
    place = torch.rand(count, 1, 2, generator=generator) * 500
    return turned * size[..., None] + place + torch.randn(count, 5, 2, generator=generator) * 4


def apply(transform: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points @ transform[:, :, :2].transpose(1, 2) + transform[:, None, :, 2]


def blob(x: float, y: float, height: int = 200, width: int = 160) -> torch.Tensor:
    """An image [1, 3, H, W], black except for a Gaussian spot around pixel index (x, y)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    spot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
    return (2 * spot - 1).expand(1, 3, -1, -1)


def centroid(face: torch.Tensor) -> torch.Tensor:
    """Centre of the light of a face [1, 3, S, S], as x, y pixel indices."""
    light = (face[0, 0] + 1).double()
    index = torch.arange(len(light), dtype=torch.float64)
    return torch.stack([(light.sum(0) * index).sum(), (light.sum(1) * index).sum()]) / light.sum()


def test_transform_equals_umeyamas():
    points = random_points(seed=0, count=50)
    ours = similarity_transform(points.double(), ARCFACE_TEMPLATE)
    for transform, source in zip(ours, points.double().numpy(), strict=True):
        theirs = SimilarityTransform.from_estimate(source, ARCFACE_TEMPLATE.double().numpy())
        np.testing.assert_allclose(transform, theirs.params[:2], atol=1e-9)


def test_mirrored_points_are_not_reflected():
    mirrored = ARCFACE_TEMPLATE * torch.tensor([-1.0, 1.0])
    linear = similarity_transform(mirrored[None], ARCFACE_TEMPLATE)[0, :, :2]
    assert torch.linalg.det(linear) > 0


def test_a_moved_template_lands_on_the_template():
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = (ARCFACE_TEMPLATE @ turn.T * 1.7 + torch.tensor([30.0, 220.0]))[None]
    landed = apply(similarity_transform(moved, ARCFACE_TEMPLATE), moved)
    torch.testing.assert_close(landed[0], ARCFACE_TEMPLATE, atol=1e-4, rtol=0)


def test_points_on_the_template_cut_the_corner_out_pixel_by_pixel():
    image = torch.rand(1, 3, 140, 130, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(align_faces(image, ARCFACE_TEMPLATE[None]), image[..., :112, :112], atol=1e-4, rtol=0)


@pytest.mark.parametrize("point", range(5))
def test_what_is_at_a_point_lands_on_its_place_in_the_template(point):
    turn = torch.tensor([[0.96, -0.28], [0.28, 0.96]])
    five_points = ARCFACE_TEMPLATE @ turn.T * 1.2 + torch.tensor([25.0, 10.0])
    face = align_faces(blob(*five_points[point].tolist()), five_points[None])
    torch.testing.assert_close(centroid(face).float(), ARCFACE_TEMPLATE[point], atol=0.02, rtol=0)


def test_a_larger_face_shows_the_same_part_of_the_image():
    """At twice the size, pixel edges coincide: the mean of 2x2 pixels of a ramp is the small face's pixel."""
    ramp = torch.linspace(-1, 1, 160).expand(1, 3, 200, 160)
    points = ARCFACE_TEMPLATE[None] + 5
    halved = torch.nn.functional.avg_pool2d(align_faces(ramp, points, size=224), 2)
    torch.testing.assert_close(halved, align_faces(ramp, points), atol=1e-4, rtol=0)


def test_outside_of_the_image_is_black():
    white = torch.ones(1, 3, 60, 60)
    face = align_faces(white, ARCFACE_TEMPLATE[None])
    assert face[0, :, :59, :59].min() > 0.999
    assert face[0, :, 62:, 62:].max() == -1


def test_each_face_is_cut_from_its_own_image():
    images = torch.stack([torch.full((3, 120, 120), value) for value in (-0.5, 0.5)])
    faces = align_faces(images, ARCFACE_TEMPLATE.expand(2, 5, 2))
    torch.testing.assert_close(faces.mean(dim=(1, 2, 3)), torch.tensor([-0.5, 0.5]))


def test_coinciding_points_give_finite_faces_and_gradients():
    image = torch.zeros(1, 3, 40, 40, requires_grad=True)
    face = align_faces(image, torch.full((1, 5, 2), 7.0))
    face.sum().backward()
    assert face.isfinite().all() and image.grad.isfinite().all()


def test_half_precision_images_are_aligned_in_full_precision():
    image = blob(60.0, 70.0)
    face = align_faces(image.bfloat16(), ARCFACE_TEMPLATE[None])
    assert face.dtype == torch.float32
    torch.testing.assert_close(face, align_faces(image, ARCFACE_TEMPLATE[None]), atol=0.01, rtol=0)
