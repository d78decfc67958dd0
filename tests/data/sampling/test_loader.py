"""Batches: read in order by processes that may die, completed on the device, usable for training."""

import gc
import logging
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from hia.config import Stage
from hia.config.stages import REGIONAL, SPATIAL
from hia.data.sampling import TrainingSamples
from hia.data.sampling.loader import collate, sample_batches
from hia.data.store.clip_store import open_store
from hia.diffusion.schedule import NoiseSchedule
from hia.images import to_tensor
from hia.models.build import build_animator
from hia.models.codec import PixelCodec
from hia.models.image_encoder import ImageEncoder
from hia.training.batch import to_batch
from hia.training.step import Supervision, training_loss
from tests.data.deadly import DeadlySamples
from tests.data.tiny_samples import HALF_WINDOWS, WINDOWS, WITHOUT_IDENTITY, configuration, equal, samples_of
from tests.data.tiny_store import HEIGHT, TOKEN_DIMENSION, WIDTH


def random_image_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"patch_size": 32, "image_size": 64, "projection_dim": TOKEN_DIMENSION},
    )
    return ImageEncoder(CLIPVisionModelWithProjection(config))


# ----------------------------------------------------------------------------------------------------------- to_batch


@pytest.mark.parametrize("stage", [SPATIAL, WINDOWS, HALF_WINDOWS])
def test_batches_have_the_shapes_that_a_step_wants(tiny_store: Path, stage: Stage):
    samples = samples_of(open_store(tiny_store), stage)
    batch = to_batch(collate([samples[n] for n in range(3)]), "cpu", TOKEN_DIMENSION)
    width, height = samples.size
    assert batch.latents.shape == (3, stage.frames, 48, height // 4, width // 4)
    assert batch.reference_latents.shape == (3, 48, height // 4, width // 4)
    assert batch.control.shape == (3, stage.frames, 6, height, width)
    assert batch.image_token.shape == (3, 1, TOKEN_DIMENSION)
    assert batch.regions is None and batch.sample_ids == tuple(samples[n].sample_ids[0] for n in range(3))


@pytest.mark.parametrize("stage", [SPATIAL, HALF_WINDOWS])
@pytest.mark.parametrize("encode_batch", [1, 3, 100])
def test_what_the_store_lacks_is_encoded(plain_store: Path, stage: Stage, encode_batch: int):
    samples = samples_of(open_store(plain_store), stage)
    parts = [samples[n] for n in range(2)]
    batch = to_batch(collate(parts), "cpu", TOKEN_DIMENSION, PixelCodec(4), encode_batch=encode_batch)
    for sample, latents, reference in zip(parts, batch.latents, batch.reference_latents, strict=True):
        assert torch.equal(latents, PixelCodec(4).encode(to_tensor(sample.images.numpy())))
        assert torch.equal(reference, PixelCodec(4).encode(to_tensor(sample.reference_image.numpy())[None])[0])


def test_stored_latents_and_those_encoded_in_training_tell_the_same(tiny_store: Path, plain_store: Path):
    stored, encoded = (
        to_batch(collate([samples_of(open_store(folder))[n] for n in range(6)]), "cpu", TOKEN_DIMENSION, PixelCodec(4))
        for folder in (tiny_store, plain_store)
    )
    assert stored.sample_ids == encoded.sample_ids
    # The store's frames went through JPEG, of 64 px here, its latents did not.
    assert (stored.latents - encoded.latents).abs().mean() < 0.02
    assert (stored.reference_latents - encoded.reference_latents).abs().mean() < 0.02


def test_without_latents_and_codec_there_is_no_batch(plain_store: Path):
    with pytest.raises(ValueError, match="give a codec"):
        to_batch(collate([samples_of(open_store(plain_store))[0]]), "cpu", TOKEN_DIMENSION)


def test_image_tokens_come_from_the_store_or_the_encoder_or_are_zero(tiny_store: Path, plain_store: Path):
    encoder, codec = random_image_encoder(), PixelCodec(4)
    with_encoder = "pretrained.image_encoder=somewhere"
    stored = collate([samples_of(open_store(tiny_store), SPATIAL, with_encoder)[0]])
    token = to_batch(stored, "cpu", TOKEN_DIMENSION, image_encoder=encoder).image_token
    assert torch.equal(token[:, 0], stored.image_token.float())
    pictures = collate([samples_of(open_store(plain_store), SPATIAL, with_encoder)[0]])
    token = to_batch(pictures, "cpu", TOKEN_DIMENSION, codec, encoder).image_token
    assert torch.equal(token, encoder(to_tensor(pictures.reference_image.numpy()))) and token.abs().sum() > 0
    none = collate([samples_of(open_store(plain_store))[0]])
    assert not to_batch(none, "cpu", TOKEN_DIMENSION, codec).image_token.any()


def test_a_token_of_another_width_is_refused(tiny_store: Path):
    batch = collate([samples_of(open_store(tiny_store), SPATIAL, "pretrained.image_encoder=somewhere")[0]])
    with pytest.raises(ValueError, match="tokens have 12 values, the model reads 768"):
        to_batch(batch, "cpu", 768)


def test_an_image_encoder_without_pictures_is_refused(tiny_store: Path):
    with pytest.raises(ValueError, match="no picture of the reference"):
        to_batch(
            collate([samples_of(open_store(tiny_store))[0]]),
            "cpu",
            TOKEN_DIMENSION,
            image_encoder=random_image_encoder(),
        )


def test_regions_have_the_shapes_and_ranges_that_a_step_wants(tiny_store: Path):
    samples = samples_of(open_store(tiny_store), REGIONAL)
    gathered = collate([samples[n] for n in range(8)])
    batch = to_batch(gathered, "cpu", TOKEN_DIMENSION)
    regions = batch.regions
    assert batch.images.shape == (8, 1, 3, HEIGHT, WIDTH)
    assert -1 <= batch.images.min() < -0.5 and 0.5 < batch.images.max() <= 1
    for mask, given in (
        (regions.face_mask, gathered.regions.face_mask),
        (regions.hand_mask, gathered.regions.hand_mask),
    ):
        assert torch.equal(mask, given.float())
        assert mask.shape == (8, 1, 1, HEIGHT, WIDTH) and set(mask.unique().tolist()) == {0.0, 1.0}
    assert regions.five_points.shape == (8, 1, 5, 2) and regions.five_points.isfinite().all()
    assert regions.face_usable.dtype == torch.bool and regions.face_usable.shape == (8, 1)
    assert regions.reference_embedding.shape == (8, 8)


@pytest.mark.parametrize("stage", [SPATIAL, WITHOUT_IDENTITY, HALF_WINDOWS], ids=lambda stage: stage.name)
def test_a_training_step_takes_the_batch(tiny_store: Path, stage: Stage):
    config = configuration("network.block_out_channels=[32,32]", "network.attention_levels=[true,true]")
    animator, _ = build_animator(config, motion=stage.frames > 1)
    animator.train_only(stage.trains)
    samples = TrainingSamples(open_store(tiny_store), config, stage, seed=0)
    batch = to_batch(collate([samples[n] for n in range(2)]), "cpu", animator.image_token_dim)
    loss, _ = training_loss(
        animator, NoiseSchedule(1.0), batch, stage, torch.Generator().manual_seed(0), Supervision(PixelCodec(4))
    )
    loss.backward()
    gradients = [parameter.grad for parameter in animator.parameters() if parameter.requires_grad]
    assert loss.isfinite() and any(gradient is not None and gradient.any() for gradient in gradients)


# ----------------------------------------------------------------------------------------------------- sample_batches

BATCHES = [range(n, n + 2) for n in range(0, 24, 2)]


def workers_of_this_process() -> list[int]:
    """Process ids of data workers: grandchildren, because the fork server is in between."""
    parents, workers = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, parent = (process / "comm").read_text().strip(), (process / "stat").read_text().rsplit(")", 1)[1]
        except OSError:
            continue
        parents[int(process.name)] = int(parent.split()[1])
        if name == "pt_data_worker":
            workers.append(int(process.name))
    return [worker for worker in workers if parents.get(parents.get(worker, 0)) == os.getpid()]


@pytest.fixture(scope="module")
def undisturbed(tiny_store: Path) -> list[Any]:
    return list(sample_batches(samples_of(open_store(tiny_store)), BATCHES, workers=0))


def test_batches_come_in_the_asked_order(tiny_store: Path):
    samples = samples_of(open_store(tiny_store))
    asked = [[5, 0], [0], [7, 7, 3]]
    expected = [tuple(samples[n].sample_ids[0] for n in positions) for positions in asked]
    assert [batch.sample_ids for batch in sample_batches(samples, asked, workers=0)] == expected
    assert [batch.sample_ids for batch in sample_batches(samples, asked, workers=2)] == expected


def test_a_killed_worker_loses_and_repeats_nothing(
    tiny_store: Path, undisturbed: list[Any], caplog: pytest.LogCaptureFixture
):
    batches, killed = [], []
    with caplog.at_level(logging.WARNING):
        for batch in sample_batches(samples_of(open_store(tiny_store)), BATCHES, workers=2):
            batches.append(batch)
            if len(batches) == 3:
                killed = workers_of_this_process()
                os.kill(killed[0], signal.SIGKILL)
    assert len(killed) == 2 and equal_all(batches, undisturbed)
    assert "reading goes on with new workers" in caplog.text


def test_a_worker_that_dies_while_reading_loses_and_repeats_nothing(
    tiny_store: Path, undisturbed: list[Any], tmp_path: Path
):
    arguments = open_store(tiny_store), configuration(), SPATIAL, 0
    samples = DeadlySamples(*arguments, deadly=[9], marker=tmp_path / "died")
    batches = list(sample_batches(samples, BATCHES, workers=2))
    assert (tmp_path / "died").exists() and equal_all(batches, undisturbed)


def test_a_batch_that_kills_every_worker_is_named(tiny_store: Path):
    samples = DeadlySamples(open_store(tiny_store), configuration(), SPATIAL, 0, deadly=[1])
    clip = samples.clip_at(1)
    batches = sample_batches(samples, [[0], [1], [2]], workers=1, most_restarts=2)
    assert next(batches).sample_ids == (samples.draw(0).sample_id,)
    with pytest.raises(RuntimeError, match=rf"same batch, positions \[1\] of the clips {clip.id} \({clip.video}\)"):
        next(batches)


def test_a_damaged_clip_is_reported_at_its_turn_with_its_own_message(plain_store: Path, tmp_path: Path):
    folder = shutil.copytree(plain_store, tmp_path / "damaged")
    damaged = next((folder / "clips").rglob("clip001*"))
    damaged.write_bytes(damaged.read_bytes()[:5000])
    samples = TrainingSamples(open_store(folder, check="none"), configuration(), SPATIAL, seed=0)
    bad = next(n for n in count() if samples.clip_at(n).id == "clip001")
    good = next(n for n in count() if samples.clip_at(n).id != "clip001")
    batches = sample_batches(samples, [[good], [bad], [good]], workers=1)
    assert next(batches).sample_ids == (samples.draw(good).sample_id,)
    with pytest.raises(ValueError, match=r"^\S*clip001\.safetensors: not a clip that can be used"):
        next(batches)


def test_reading_ahead_is_bounded_and_ends_with_the_reader(tiny_store: Path):
    asked: list[int] = []

    def endless() -> Iterator[Sequence[int]]:
        for position in count():
            asked.append(position)
            yield [position]

    batches = sample_batches(samples_of(open_store(tiny_store)), endless(), workers=2, prefetch=2)
    for _ in range(6):
        next(batches)
    assert len(asked) <= 6 + 2 * 2 + 1
    batches.close()
    gc.collect()
    assert workers_of_this_process() == []


def test_no_open_files_are_left_behind(tiny_store: Path):
    samples = samples_of(open_store(tiny_store))

    def open_files() -> int:
        for _ in sample_batches(samples, BATCHES[:3], workers=1):
            pass
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    open_files()
    assert len({open_files() for _ in range(3)}) == 1


def equal_all(batches: list[Any], expected: list[Any]) -> bool:
    assert [batch.sample_ids for batch in batches] == [batch.sample_ids for batch in expected]
    return all(equal(one, other) for one, other in zip(batches, expected, strict=True))
