"""Face embedders on real people, and the gradient that the identity loss needs."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from hia.models.face import FaceEmbedder, IResNet, MobileFaceNet, load_face_embedder
from hia.models.face.embedder import arcface_embedder, mobilefacenet_embedder
from hia.weights.find import MissingWeights

PEOPLE = ["gesture_man_kitchen", "gesture_woman_bench", "sign_woman_home", "talk_man_white_suit"]
FACE = slice(23, 91)
FRAMES = 6


def frames_of(clip: Path, indices: list[int]) -> Tensor:
    """RGB frames [N, 3, H, W] in [-1, 1]."""
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack([frames[i] for i in indices])).permute(0, 3, 1, 2).float() / 127.5 - 1


def five_points_of(face: np.ndarray) -> Tensor:
    """Face keypoints [N, 68, 2] -> eyes, nose tip and mouth corners, image-left first [N, 5, 2]."""
    eyes = face[:, 36:42].mean(axis=1), face[:, 42:48].mean(axis=1)
    return torch.from_numpy(np.stack([*eyes, face[:, 30], face[:, 48], face[:, 54]], axis=1))


@pytest.fixture(scope="module")
def embedder(sample_data: Path) -> FaceEmbedder:
    return load_face_embedder(str(sample_data / "weights" / "mobilefacenet.safetensors"))


@pytest.fixture(scope="module")
def people(sample_data: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Frames and five points of several people, spread over their clips."""
    found = {}
    for name in PEOPLE:
        keypoints = np.load(sample_data / "keypoints" / f"{name}.npz")["keypoints"]
        indices = np.linspace(0, len(keypoints) - 1, FRAMES).astype(int).tolist()
        images = frames_of(sample_data / "clips" / f"{name}.mp4", indices)
        found[name] = images, five_points_of(keypoints[indices, FACE])
    return found


@pytest.fixture(scope="module")
def embeddings(embedder, people) -> Tensor:
    """Unit embeddings [person, frame, 128]."""
    with torch.no_grad():
        return torch.stack([embedder(*person) for person in people.values()])


def pairs(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs of frames of the same person, and of different people."""
    cosine = embeddings.flatten(0, 1) @ embeddings.flatten(0, 1).T
    person = torch.arange(len(embeddings)).repeat_interleave(embeddings.shape[1])
    same = person[:, None] == person
    other_frame = ~torch.eye(len(person), dtype=torch.bool)
    return cosine[same & other_frame], cosine[~same]


def test_the_same_person_looks_alike_in_other_frames(embeddings):
    same, _ = pairs(embeddings)
    assert same.mean() > 0.7 and same.min() > 0.4


def test_different_people_do_not_look_alike(embeddings):
    _, different = pairs(embeddings)
    assert different.mean().abs() < 0.15 and different.max() < 0.4


def test_every_face_is_nearest_to_another_frame_of_its_person(embeddings):
    cosine = embeddings.flatten(0, 1) @ embeddings.flatten(0, 1).T
    nearest = cosine.fill_diagonal_(-1).argmax(dim=1) // FRAMES
    assert nearest.tolist() == [person for person in range(len(PEOPLE)) for _ in range(FRAMES)]


def test_swapped_eyes_and_mouth_corners_spoil_the_embedding(embedder, people, embeddings):
    images, five_points = people["talk_man_white_suit"]
    with torch.no_grad():
        swapped = embedder(images[:1], five_points[:1, [1, 0, 2, 4, 3]])
    assert swapped[0] @ embeddings[-1, 0] < 0.5


def test_embeddings_have_unit_length(embedder, embeddings):
    assert embeddings.shape[-1] == embedder.dimension == 128
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(embeddings.shape[:2]))


def test_a_step_along_the_gradient_makes_the_face_more_alike(embedder, people, embeddings):
    images, five_points = people["gesture_woman_bench"]
    image = images[:1].clone().requires_grad_(True)
    target = embeddings[PEOPLE.index("sign_woman_home"), 0]
    before = embedder(image, five_points[:1])[0] @ target
    before.backward()
    with torch.no_grad():
        after = embedder(image + 0.5 * image.grad / image.grad.norm(), five_points[:1])[0] @ target
    assert after > before + 0.02


def test_only_pixels_of_the_face_get_a_gradient(embedder, people):
    images, five_points = people["gesture_woman_bench"]
    image = images[:1].clone().requires_grad_(True)
    embedder(image, five_points[:1]).sum().backward()
    centre = five_points[0].mean(dim=0).round().int().tolist()
    assert image.grad[0, :, centre[1] - 20 : centre[1] + 20, centre[0] - 20 : centre[0] + 20].abs().min() > 0
    assert image.grad[0, :, -100:].abs().max() == 0


def test_training_mode_does_not_change_the_embedding(embedder, people, embeddings):
    images, five_points = people["talk_man_white_suit"]
    torch.nn.ModuleList([embedder]).train()
    with torch.no_grad():
        again = embedder(images, five_points)
    torch.testing.assert_close(again, embeddings[-1], rtol=0, atol=0)


def test_weights_get_no_gradient(embedder, people):
    images, five_points = people["talk_man_white_suit"]
    embedder(images[:1].clone().requires_grad_(True), five_points[:1]).sum().backward()
    assert all(parameter.grad is None for parameter in embedder.parameters())


class FirstPixel(torch.nn.Module):
    """Shows what a network would be given: the colour of the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, faces: Tensor) -> Tensor:
        return faces[:, :, 0, 0]


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (arcface_embedder, [(255 - 127.5) / 127.5, (51 - 127.5) / 127.5, (0 - 127.5) / 127.5]),
        (
            mobilefacenet_embedder,
            [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225],
        ),
    ],
)
def test_each_network_gets_its_own_normalisation(wrap, expected):
    network = FirstPixel()
    network.dimension = 3
    colour = torch.tensor([255.0, 51.0, 0.0]) / 127.5 - 1
    image = colour[None, :, None, None].expand(1, 3, 300, 300)
    points = torch.tensor([[[100.0, 100], [140, 100], [120, 125], [105, 150], [135, 150]]])
    wanted = torch.nn.functional.normalize(torch.tensor([expected]), dim=-1)
    torch.testing.assert_close(wrap(network)(image, points), wanted)


def test_a_saved_iresnet_is_recognised_by_its_weights(tmp_path):
    network = IResNet((1, 1, 1, 1), (4, 4, 4, 4), dimension=6)
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    embedder = load_face_embedder(str(tmp_path / "backbone.pth"))
    assert (embedder.name, embedder.dimension) == ("arcface", 6)


def test_a_name_is_looked_up_in_the_weight_folders(sample_data, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    embedder = load_face_embedder("mobilefacenet")
    assert isinstance(embedder.network, MobileFaceNet) and embedder.name == "mobilefacenet"


@pytest.mark.parametrize(
    ("name", "told"),
    [("arcface", "w600k_r50.onnx"), ("mobilefacenet", "foamliu"), ("deepface", "name one of")],
)
def test_missing_weights_say_how_to_get_them(name, told, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingWeights, match=told):
        load_face_embedder(name)
