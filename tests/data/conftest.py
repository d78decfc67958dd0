"""Fixtures of the data tests: clip stores."""

from pathlib import Path

import pytest

from tests.data.tiny_store import HEIGHT, WIDTH, TinyClip, write_store


@pytest.fixture(scope="session")
def tiny_store(tiny_clips: list[TinyClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store of `tiny_clips` with latents at full and half size, face embeddings and image tokens."""
    sizes = [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)]
    folder = tmp_path_factory.mktemp("stores") / "store"
    return write_store(folder, tiny_clips, latent_sizes=sizes, face_every=5, tokens=True)
