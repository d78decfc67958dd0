"""Training samples: their content, cut from clips."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hia.conditions.blur import SharpnessScale, clip_ranks
from hia.conditions.control import render_control
from hia.conditions.regions import box_mask, face_box, five_points, hand_boxes
from hia.config import Stage
from hia.config.stages import REGIONAL, SPATIAL
from hia.data.sampling import Draw, TrainingSamples
from hia.data.store.clip_store import ClipStore, open_store
from hia.images import to_tensor
from hia.models.codec import PixelCodec
from hia.pose.keypoints import FACE
from hia.pose.render import OPENPOSE, render_skeleton
from tests.data.tiny_samples import HALF_WINDOWS, WINDOWS, WITHOUT_IDENTITY, configuration, equal, samples_of
from tests.data.tiny_store import HEIGHT, TOKEN_DIMENSION, WIDTH, TinyClip, made_up, write_store


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> ClipStore:
    return open_store(tiny_store)


@pytest.fixture(scope="module")
def plain(plain_store: Path) -> ClipStore:
    return open_store(plain_store)


def both_sides(store: ClipStore, stage: Stage, position: int) -> tuple[Draw, object, object]:
    """A draw and its sample, unmirrored and mirrored."""
    straight = samples_of(store, stage, "samples.flip_probability=0")
    mirrored = samples_of(store, stage, "samples.flip_probability=1")
    assert replace(mirrored.draw(position), mirrored=False) == straight.draw(position)
    return straight.draw(position), straight[position], mirrored[position]


def expected_control(store: ClipStore, draw: Draw, frame: int, scale: SharpnessScale | None = None) -> Tensor:
    """The control image of one stored frame at the stored size."""
    clip = store.read(draw.clip)
    sharpness = (scale or store.sharpness_scale).normalise(clip.sharpness[frame])
    person = clip.keypoints.keypoints[frame], clip.keypoints.scores[frame]
    return torch.from_numpy(render_control(*person, clip.movement[frame], sharpness, WIDTH, HEIGHT))


@pytest.mark.parametrize("stage", [SPATIAL, WINDOWS])
def test_control_images_are_those_of_the_stored_frames_whatever_the_stride(store: ClipStore, stage: Stage):
    samples = samples_of(store, stage, "samples.flip_probability=0")
    for position in range(5):
        draw, control = samples.draw(position), samples[position].control
        expected = torch.stack([expected_control(store, draw, frame) for frame in draw.targets])
        assert torch.equal(control, expected.half())
        assert control[:, 3:].any()


def test_nothing_moves_in_a_static_clip(store: ClipStore):
    samples = samples_of(store, replace(WINDOWS, static_clip_probability=1.0), "samples.flip_probability=0")
    for position in range(4):
        draw, sample = samples.draw(position), samples[position]
        expected = expected_control(store, draw, draw.targets[0]).half()
        assert not sample.control[:, 3:5].any()
        assert all(torch.equal(frame[[0, 1, 2, 5]], expected[[0, 1, 2, 5]]) for frame in sample.control)
        assert all(torch.equal(latents, sample.latents[0]) for latents in sample.latents)


@pytest.mark.parametrize("position", range(4))
def test_a_mirrored_sample_is_the_mirror_of_the_plain_one(plain: ClipStore, position: int):
    draw, straight, mirrored = both_sides(plain, WINDOWS, position)
    assert torch.equal(mirrored.images, straight.images.flip(-2))
    assert torch.equal(mirrored.reference_image, straight.reference_image.flip(-2))
    assert torch.equal(mirrored.control[:, 3], -straight.control[:, 3].flip(-1))
    assert torch.equal(mirrored.control[:, 4:], straight.control[:, 4:].flip(-1))
    clip = plain.read(draw.clip)
    for frame, skeleton in zip(draw.targets, mirrored.control[:, :3], strict=True):
        person = clip.keypoints.keypoints[frame], clip.keypoints.scores[frame]
        left_and_right_exchanged = render_skeleton(*person, WIDTH, HEIGHT, palette=OPENPOSE.mirrored())
        assert torch.allclose(skeleton.float().flip(-1), torch.from_numpy(left_and_right_exchanged), atol=2e-3)


def test_without_latents_in_the_store_the_frames_are_given(plain: ClipStore):
    samples = samples_of(plain, WINDOWS, "samples.flip_probability=0")
    draw, sample = samples.draw(3), samples[3]
    clip = plain.read(draw.clip)
    assert np.array_equal(sample.images, clip.frames(draw.targets))
    assert np.array_equal(sample.reference_image, clip.frame(draw.reference))
    assert sample.latents is None and sample.reference_latents is None and sample.image_token is None


@pytest.mark.parametrize("stage", [SPATIAL, HALF_WINDOWS])
def test_with_latents_in_the_store_no_frame_is_decoded(store: ClipStore, stage: Stage):
    samples = samples_of(store, stage, "samples.flip_probability=0")
    draw, sample = samples.draw(2), samples[2]
    clip, size = store.read(draw.clip), samples.size
    assert np.array_equal(sample.latents, clip.latents(draw.targets, *size))
    assert np.array_equal(sample.reference_latents, clip.latents([draw.reference], *size)[0])
    assert sample.images is None and sample.reference_image is None


def test_latents_of_a_mirrored_sample_are_those_of_the_mirrored_frame(store: ClipStore, tiny_clips: list[TinyClip]):
    draw, straight, mirrored = both_sides(store, SPATIAL, 4)
    frames = next(clip.frames for clip in tiny_clips if clip.video == draw.clip.video)
    flipped = to_tensor(frames[list(draw.targets)][:, :, ::-1])
    assert torch.equal(mirrored.latents, PixelCodec(4).encode(flipped).half())
    assert not torch.equal(mirrored.latents, straight.latents.flip(-1))


def test_tokens_are_those_of_the_reference_on_the_side_that_is_seen(store: ClipStore):
    for side in (False, True):
        samples = samples_of(
            store, SPATIAL, f"samples.flip_probability={int(side)}", "pretrained.image_encoder=somewhere"
        )
        draw, sample = samples.draw(1), samples[1]
        assert np.array_equal(sample.image_token, made_up(draw.reference, side, TOKEN_DIMENSION))


def test_a_model_without_image_encoder_gets_no_token_though_the_store_has_some(store: ClipStore):
    assert samples_of(store)[0].image_token is None


def test_a_model_with_image_encoder_gets_the_reference_where_the_store_has_no_tokens(
    plain_store: Path, tmp_path: Path, tiny_clips: list[TinyClip]
):
    folder = write_store(tmp_path / "latents", tiny_clips, latent_sizes=[(WIDTH, HEIGHT)])
    sample = samples_of(open_store(folder), SPATIAL, "pretrained.image_encoder=somewhere")[0]
    assert sample.latents is not None and sample.images is None
    assert sample.reference_image.shape == (HEIGHT, WIDTH, 3)


def test_plain_samples_are_read_from_latents_though_those_of_mirrored_frames_are_not_kept(
    tmp_path: Path, tiny_clips: list[TinyClip]
):
    folder = write_store(tmp_path / "store", tiny_clips, latent_sizes=[(WIDTH, HEIGHT)], mirrored_latents=False)
    sample = samples_of(open_store(folder), SPATIAL, "samples.flip_probability=0")[0]
    assert sample.latents is not None and sample.images is None
    sample = samples_of(open_store(folder), SPATIAL, "samples.flip_probability=0.5")[0]
    assert sample.latents is None and sample.images is not None


@pytest.mark.parametrize(("scale", "tolerance"), [(0.5, 3.0), (0.25, 3.0), (0.75, 0.0)])
def test_a_smaller_stage_sees_smaller_pictures_and_drawings(plain: ClipStore, scale: float, tolerance: float):
    samples = samples_of(plain, replace(SPATIAL, resolution_scale=scale), "samples.flip_probability=0")
    draw, sample = samples.draw(0), samples[0]
    size = (int(WIDTH * scale), int(HEIGHT * scale))
    clip, frame = plain.read(draw.clip), draw.targets[0]
    person = clip.keypoints.resized(*size)
    sharpness = plain.sharpness_scale.normalise(clip.sharpness[frame])
    control = render_control(person.keypoints[frame], person.scores[frame], clip.movement[frame], sharpness, *size)
    assert torch.equal(sample.control[0], torch.from_numpy(control).half())
    resized = cv2.resize(clip.frame(frame), size, interpolation=cv2.INTER_AREA)
    assert sample.images.shape == (1, size[1], size[0], 3)
    assert np.abs(sample.images[0].numpy().astype(float) - resized).mean() <= tolerance


@pytest.mark.parametrize("mirrored", [0, 1])
def test_regions_are_where_face_and_hands_are(store: ClipStore, mirrored: int):
    samples = samples_of(store, WITHOUT_IDENTITY, f"samples.flip_probability={mirrored}")
    seen = 0
    for position in range(12):
        draw, regions = samples.draw(position), samples[position].regions
        clip, frame = store.read(draw.clip), draw.targets[0]
        person = clip.keypoints.keypoints[frame], clip.keypoints.scores[frame]
        face = torch.from_numpy(box_mask([face_box(*person, WIDTH, HEIGHT)], WIDTH, HEIGHT)).bool()
        hands = torch.from_numpy(box_mask(hand_boxes(*person, WIDTH, HEIGHT), WIDTH, HEIGHT)).bool()
        turn = (lambda mask: mask.flip(-1)) if mirrored else (lambda mask: mask)
        assert torch.equal(regions.face_mask[0], turn(face)) and torch.equal(regions.hand_mask[0], turn(hands))
        seen += int(face.any()) + int(hands.any())
        points = five_points(*person)
        if points is not None and mirrored:
            points = points[[1, 0, 2, 4, 3]] * [-1, 1] + [WIDTH - 1, 0]
        expected = np.zeros((5, 2)) if points is None else points
        assert np.allclose(regions.five_points[0], expected, atol=1e-4)
        assert bool(regions.face_usable[0]) == bool(clip.face_usable[frame])
        assert regions.reference_embedding is None
    assert seen > 12


def test_regional_stages_get_the_images_beside_the_latents(store: ClipStore):
    samples = samples_of(store, REGIONAL, "samples.flip_probability=0")
    draw, sample = samples.draw(0), samples[0]
    assert np.array_equal(sample.images, store.read(draw.clip).frames(draw.targets))
    assert sample.latents is not None and sample.reference_image is None


def test_only_regional_stages_get_regions(store: ClipStore):
    assert samples_of(store, SPATIAL)[0].regions is None
    assert samples_of(store, REGIONAL)[0].regions is not None


@pytest.mark.parametrize("mirrored", [0, 1])
def test_faces_are_compared_with_the_stored_embedding_of_the_reference(store: ClipStore, mirrored: int):
    samples = samples_of(store, REGIONAL, f"samples.flip_probability={mirrored}")
    known = 0
    for position in range(12):
        draw, regions = samples.draw(position), samples[position].regions
        clip = store.read(draw.clip)
        if len(clip.face_frames):
            known += 1
            assert np.array_equal(regions.reference_embedding, made_up(draw.reference, bool(mirrored), 8))
            assert bool(regions.face_usable[0]) == bool(clip.face_usable[draw.targets[0]])
        else:
            assert not regions.face_usable.any() and not regions.reference_embedding.any()
    assert 0 < known < 12


def test_a_face_cannot_be_compared_when_the_reference_has_no_embedding(tiny_clips: list[TinyClip], tmp_path: Path):
    scores = tiny_clips[1].keypoints.scores.copy()
    scores[0, FACE] = 0
    clip = replace(tiny_clips[1], keypoints=replace(tiny_clips[1].keypoints, scores=scores))
    # The only frame to embed is the one without a face.
    store = open_store(write_store(tmp_path / "store", [clip], face_every=1000))
    samples = samples_of(store, REGIONAL)
    assert any(store.read(samples.draw(n).clip).face_usable[samples.draw(n).targets[0]] for n in range(5))
    for n in range(5):
        regions = samples[n].regions
        assert not regions.face_usable.any() and not regions.reference_embedding.any()


def test_sharpness_is_normalised_by_the_store_or_by_the_given_scale(store: ClipStore):
    given = SharpnessScale(0.0, 2.0, 8.0)
    samples = TrainingSamples(store, configuration("samples.flip_probability=0"), SPATIAL, 0, sharpness_scale=given)
    draw = samples.draw(0)
    expected = expected_control(store, draw, draw.targets[0], given).half()
    assert torch.equal(samples[0].control[0], expected)
    assert not torch.equal(expected, expected_control(store, draw, draw.targets[0]).half())


def test_sharpness_can_be_ranked_within_the_clip(store: ClipStore):
    samples = samples_of(store, SPATIAL, "samples.flip_probability=0", "conditions.sharpness_scale=clip")
    for position in range(6):
        draw, control = samples.draw(position), samples[position].control
        clip, frame = store.read(draw.clip), draw.targets[0]
        person = clip.keypoints.keypoints[frame], clip.keypoints.scores[frame]
        ranks = clip_ranks(clip.sharpness)[frame]
        expected = render_control(*person, clip.movement[frame], ranks, WIDTH, HEIGHT)
        assert torch.equal(control[0], torch.from_numpy(expected).half())


def test_samples_travel_without_the_store_s_open_files(store: ClipStore):
    samples = samples_of(store)
    samples[0]
    again = pickle.loads(pickle.dumps(samples))
    assert len(pickle.dumps(samples)) < 20_000
    assert equal(again[5], samples[5])
