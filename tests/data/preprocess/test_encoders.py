"""Latents, tokens and embeddings of a clip: of each frame and its mirror image, independent of the batches."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from hia.conditions.regions import five_points
from hia.config import load_config
from hia.data.preprocess.annotations import measure_keypoints
from hia.data.preprocess.encoders import BATCH, Encoders, load_encoders
from hia.images import to_tensor
from hia.models.codec import PixelCodec, build_random_codec
from hia.models.face import load_face_embedder
from hia.models.image_encoder import ImageEncoder
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import flip_horizontal
from hia.video import read_frames
from tests.data.tiny_samples import TINY_CONFIG


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (2 * BATCH + 3, 48, 32, 3), np.uint8)


def encode(encoders, frames, five_points=None, usable=None):
    usable = np.zeros(len(frames), bool) if usable is None else usable
    encoder = encoders.begin(np.zeros((len(frames), 5, 2), np.float32) if five_points is None else five_points, usable)
    passed = list(encoder.tee(frames := list(frames)))
    assert all(one is other for one, other in zip(passed, frames, strict=True)), "frames pass through as they are"
    return encoder.finish()


def test_nothing_is_computed_that_was_not_asked_for(frames):
    assert encode(Encoders(), frames) == {}


def test_latents_are_those_of_each_frame_and_of_its_mirror_image(frames):
    codec = build_random_codec(load_config("small").codec)
    arrays = encode(Encoders(codec=codec, latent_sizes=((32, 48), (16, 24))), frames)
    assert arrays["latents_32x48"].shape == (19, 4, 6, 4) and arrays["latents_16x24"].shape == (19, 4, 3, 2)
    with torch.no_grad():
        expected = codec.encode(to_tensor(frames[17:18, :, ::-1]))
        mirrored_latents = codec.encode(to_tensor(frames[17:18])).flip(-1)
    found = torch.from_numpy(arrays["latents_32x48_mirrored"][17:18].astype(np.float32))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    difference = (mirrored_latents - expected).abs().max()
    assert difference > 20 * (found - expected).abs().max(), "mirrored latents are not latents of the mirrored frame"


def test_mirrored_frames_are_not_encoded_where_no_sample_is_mirrored(frames):
    arrays = encode(Encoders(codec=PixelCodec(2), latent_sizes=((16, 24),), mirrored_latents=False), frames)
    assert list(arrays) == ["latents_16x24"]
    assert not load_encoders(load_config(TINY_CONFIG, ["samples.flip_probability=0"])).mirrored_latents


def test_small_latents_are_of_frames_averaged_over_pixels(frames):
    arrays = encode(Encoders(codec=PixelCodec(2), latent_sizes=((16, 24),)), frames)
    averaged = frames.reshape(-1, 24, 2, 16, 2, 3).mean(axis=(2, 4))
    decoded = PixelCodec(2).decode(torch.from_numpy(arrays["latents_16x24"].astype(np.float32)))
    np.testing.assert_allclose((decoded.numpy() + 1) * 127.5, averaged.transpose(0, 3, 1, 2), atol=0.6)


def test_image_tokens_are_those_of_inference(frames):
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    encoder = ImageEncoder(CLIPVisionModelWithProjection(CLIPVisionConfig(**size, image_size=32, patch_size=8)))
    tokens = encode(Encoders(image_encoder=encoder), frames)["image_tokens"]
    with torch.no_grad():
        expected = [encoder(to_tensor(side)[None])[0, 0] for side in (frames[9], frames[9, :, ::-1].copy())]
    np.testing.assert_allclose(tokens[9], torch.stack(expected).numpy(), rtol=5e-3, atol=5e-3)


def test_faces_are_embedded_every_so_often_where_they_are_usable(sample_data, monkeypatch):
    """The embedding of a real face is near that of its mirror image, which uses the mirrored keypoints."""
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    embedder = load_face_embedder("mobilefacenet")
    people = load_keypoints(sample_data / "keypoints" / "gesture_man_kitchen.npz")
    frames = list(islice(read_frames(sample_data / "clips" / "gesture_man_kitchen.mp4"), 24))
    people = dataclasses.replace(people, keypoints=people.keypoints[:24], scores=people.scores[:24])
    measured = measure_keypoints(people, np.zeros((24, 133), bool))
    usable = measured["face_usable"].copy()
    assert usable.all()
    usable[10] = False
    arrays = encode(Encoders(face_embedder=embedder, face_every=5), frames, measured["five_points"], usable)
    assert arrays["face_frames"].tolist() == [0, 5, 15, 20]
    similarity = (arrays["face_embeddings"][:, 0] * arrays["face_embeddings"][:, 1]).sum(axis=-1)
    assert (similarity > 0.6).all() and (similarity < 0.9999).all()
    mirrored = flip_horizontal(people.keypoints[15], people.scores[15], people.width)
    with torch.no_grad():
        points = torch.from_numpy(five_points(*mirrored))[None]
        expected = embedder(to_tensor(frames[15][:, ::-1].copy())[None], points)[0]
    np.testing.assert_allclose(arrays["face_embeddings"][2, 1], expected.numpy(), atol=1e-4)


def test_no_usable_face_gives_no_embedding(frames, sample_data, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    arrays = encode(Encoders(face_embedder=load_face_embedder("mobilefacenet")), frames)
    assert arrays["face_embeddings"].shape == (0, 2, 128) and len(arrays["face_frames"]) == 0


def test_a_configuration_asks_for_what_its_stages_need():
    config = load_config(TINY_CONFIG, ["preprocess.latents=true"])
    assert config.training_sizes == ((64, 112), (32, 56))
    encoders = load_encoders(config)
    assert encoders.codec is not None and encoders.face_embedder is None and encoders.image_encoder is None
    assert load_encoders(load_config(TINY_CONFIG)).codec is None


def test_weights_decide_the_fingerprint():
    config = load_config("small").codec
    one, same, other = (Encoders(codec=build_random_codec(config, seed)).fingerprint() for seed in (1, 1, 2))
    assert one == same != other
