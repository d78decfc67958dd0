"""The image token: CLIP's preprocessing in torch, and loading."""

from pathlib import Path

import cv2
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from hia.models.image_encoder import ImageEncoder, load_image_encoder
from hia.weights.find import MissingWeights


def random_image_encoder(seed: int = 0, image_size: int = 224, dimension: int = 12) -> ImageEncoder:
    """A tiny CLIP vision model with random weights."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=32,
        image_size=image_size,
        projection_dim=dimension,
    )
    return ImageEncoder(CLIPVisionModelWithProjection(config))


def noise(width: int, height: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_one_token_per_image():
    encoder = random_image_encoder(dimension=12)
    assert encoder(noise(96, 160, count=2)).shape == (2, 1, encoder.dimension) == (2, 1, 12)


def difference_from_clips_own(sample_data: Path, size: tuple[int, int]) -> Tensor:
    """Our preprocessing against that of transformers (Pillow), for a picture of that width and height."""
    image = cv2.resize(cv2.imread(str(sample_data / "images" / "astronaut_collins.jpg")), size)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    theirs = CLIPImageProcessorPil()(Image.fromarray(rgb), return_tensors="pt")["pixel_values"]
    ours = random_image_encoder().preprocess(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1)
    assert ours.shape == theirs.shape == (1, 3, 224, 224)
    return (ours - theirs).abs()


@pytest.mark.parametrize("size", [(512, 896), (480, 300), (224, 224)])
def test_preprocessing_equals_clips_own(sample_data, size):
    """Pillow rounds to bytes, which are 0.015 apart after normalisation."""
    difference = difference_from_clips_own(sample_data, size)
    assert difference.mean() < 0.01 and difference.max() < 0.06


def test_enlarging_equals_clips_own_but_for_saturated_edges(sample_data):
    """Pillow also clips between its pass across and its pass down, where enlarging overshoots."""
    difference = difference_from_clips_own(sample_data, (100, 61))
    assert difference.mean() < 0.01 and difference.quantile(0.99) < 0.06


def test_the_model_sees_the_preprocessed_image():
    encoder, image = random_image_encoder(), noise(224, 224)
    expected = encoder.model(pixel_values=encoder.preprocess(image)).image_embeds
    assert torch.equal(encoder(image)[:, 0], expected)


def test_the_centre_of_a_tall_frame_is_seen_and_its_ends_are_not():
    encoder, frame = random_image_encoder(), noise(224, 448)
    ends, centre = frame.clone(), frame.clone()
    ends[..., :100, :] = ends[..., -100:, :] = 1
    centre[..., 150:250, :] = 1
    assert torch.equal(encoder(ends), encoder(frame))
    assert not torch.allclose(encoder(centre), encoder(frame))


def test_overshoot_of_resizing_is_clipped_to_the_range_of_bytes():
    encoder = random_image_encoder()
    stripes = torch.ones(1, 3, 100, 100)
    stripes[..., ::4] = -1
    colours = encoder.preprocess(stripes) * encoder.std + encoder.mean
    assert colours.min() >= -1e-6 and colours.max() <= 1 + 1e-6


def test_the_encoder_is_frozen_for_ever():
    encoder = random_image_encoder()
    torch.nn.ModuleList([encoder]).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_half_precision_weights_accept_full_precision_images():
    encoder = random_image_encoder()
    expected = encoder(noise(64, 64))
    token = encoder.bfloat16()(noise(64, 64))
    assert token.dtype == torch.bfloat16
    torch.testing.assert_close(token.float(), expected, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("layout", ["", "image_encoder"])
def test_a_saved_encoder_is_bit_equal(tmp_path, layout):
    encoder, image = random_image_encoder(), noise(80, 120)
    encoder.save(tmp_path / layout)
    loaded = load_image_encoder(str(tmp_path))
    assert loaded.dimension == encoder.dimension
    assert torch.equal(loaded(image), encoder(image))


def test_a_saved_encoder_holds_safetensors_only(tmp_path):
    random_image_encoder().save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_a_missing_encoder_says_how_to_get_one(tmp_path):
    with pytest.raises(MissingWeights, match=r"image_encoder/config\.json[\s\S]*sd-image-variations"):
        load_image_encoder(str(tmp_path))


def test_a_broken_encoder_is_refused_by_its_folder(tmp_path):
    random_image_encoder().save(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{tmp_path}: cannot be loaded as CLIPVisionModelWithProjection"):
        load_image_encoder(str(tmp_path))
