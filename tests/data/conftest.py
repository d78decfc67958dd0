"""Fixtures of the data tests: clip stores."""

from pathlib import Path

import pytest

from tests.data.tiny_store import HEIGHT, WIDTH, TinyClip, sample_clips, write_store


@pytest.fixture(scope="session")
def tiny_clips(sample_data: Path) -> list[TinyClip]:
    """The first 60 frames or fewer of four real clips at 64×112 px; the last is of the test split."""
    return sample_clips(sample_data)


@pytest.fixture(scope="session")
def tiny_store(tiny_clips: list[TinyClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store of `tiny_clips` with latents at full and half size, face embeddings and image tokens."""
    sizes = [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)]
    folder = tmp_path_factory.mktemp("stores") / "store"
    return write_store(folder, tiny_clips, latent_sizes=sizes, face_every=5, tokens=True)


@pytest.fixture(scope="session")
def plain_store(tiny_clips: list[TinyClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store of `tiny_clips` without arrays from networks."""
    return write_store(tmp_path_factory.mktemp("stores") / "plain", tiny_clips)
