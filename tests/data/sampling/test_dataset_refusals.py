"""Stores that do not have what a stage needs are refused, and the message says what to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hia.conditions.blur import SharpnessScale
from hia.config import Stage
from hia.config.stages import REGIONAL, SPATIAL
from hia.data.sampling import TrainingSamples
from hia.data.store.clip_store import ClipStore, open_store
from tests.data.tiny_samples import WITHOUT_IDENTITY, configuration, samples_of
from tests.data.tiny_store import HEIGHT, WIDTH, TinyClip, write_store


@pytest.fixture(scope="module")
def plain(plain_store: Path) -> ClipStore:
    return open_store(plain_store)


def without_hands(clip: TinyClip) -> TinyClip:
    scores = clip.keypoints.scores.copy()
    scores[:, 91:] = 0
    return replace(clip, keypoints=replace(clip.keypoints, scores=scores))


def test_a_store_without_hands_needs_a_scale_or_ranks(tiny_clips: list[TinyClip], tmp_path: Path):
    handless = open_store(write_store(tmp_path / "store", [without_hands(clip) for clip in tiny_clips[:2]]))
    with pytest.raises(ValueError, match=r"too few hands .* set conditions\.sharpness_scale to clip"):
        samples_of(handless)
    assert samples_of(handless, SPATIAL, "conditions.blur=false")[0].control.shape[1] == 3, "it needs no scale"
    sample = samples_of(handless, SPATIAL, "conditions.sharpness_scale=clip")[0]
    assert sample.control[0, :3].any() and not sample.control[0, 3:].any()
    assert TrainingSamples(handless, configuration(), SPATIAL, 0, sharpness_scale=SharpnessScale(0, 1, 2))[0]


@pytest.mark.parametrize(
    ("overrides", "stage", "message"),
    [
        (["width=128", "height=224"], SPATIAL, r"clips have 64×112 px, the configuration says 128×224"),
        (["codec.factor=2"], SPATIAL, "latents of another codec"),
    ],
)
def test_a_store_that_does_not_fit_the_configuration_is_refused(
    tiny_clips: list[TinyClip], tmp_path: Path, overrides: list[str], stage: Stage, message: str
):
    folder = write_store(tmp_path / "store", tiny_clips[:1], latent_sizes=[(WIDTH, HEIGHT)])
    with pytest.raises(ValueError, match=message):
        TrainingSamples(open_store(folder), configuration(*overrides), stage, 0)


def test_faces_cannot_be_compared_without_embeddings(plain: ClipStore):
    with pytest.raises(ValueError, match=r"face_embedding_every above 0, or set the stage's losses\.identity to 0"):
        samples_of(plain, REGIONAL)
    assert samples_of(plain, WITHOUT_IDENTITY)[0].regions is not None


def test_an_empty_split_is_refused(tiny_clips: list[TinyClip], tmp_path: Path):
    folder = write_store(tmp_path / "store", tiny_clips[:1])
    with pytest.raises(ValueError, match="no clip of the split test"):
        TrainingSamples(open_store(folder), configuration(), SPATIAL, 0, split="test")


def test_a_damaged_clip_is_named(plain_store: Path, tmp_path: Path):
    folder = shutil.copytree(plain_store, tmp_path / "damaged")
    damaged = next((folder / "clips").rglob("clip001*"))
    damaged.write_bytes(damaged.read_bytes()[:5000])
    samples = samples_of(open_store(folder, check="none"))
    position = next(n for n in range(100) if samples.clip_at(n).id == "clip001")
    with pytest.raises(ValueError, match=r"clip001\.safetensors"):
        samples[position]
