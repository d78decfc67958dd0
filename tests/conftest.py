"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from hia.config import Config, load_config

if TYPE_CHECKING:
    from hia.models.animator import Animator  # seconds, which the processes that tests start need not spend

# The networks of the tests are so small that more threads only wait for each other.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_CONFIG = REPOSITORY / "tests" / "tiny.yaml"

TINY = (
    "width=32",
    "height=48",
    "network.block_out_channels=[32,64]",
    "network.attention_levels=[true,true]",
    "network.cross_attention_dim=16",
    "sampling.steps=3",
    "sampling.window=4",
    "sampling.overlap=1",
)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real sample clips, pictures and small real weights (not part of the repository).

    Looked for in `$HIA_SAMPLE_DATA`, then in `../shared/data` beside the checkout.
    """
    folder = Path(os.environ.get("HIA_SAMPLE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "manifest.yaml").is_file():
        pytest.skip(f"sample data not found in {folder}: set HIA_SAMPLE_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., Config]:
    """A configuration small enough for tests: `tiny_config("key=value", ...)`. Pixel codec, 12×8 latents."""
    return lambda *overrides: load_config(TINY_CONFIG, [*TINY, *overrides])


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def as_if_trained() -> Callable[[Animator], Animator]:
    """Make an animator look trained: projections that start at zero (ControlNet's, motion layers') become random."""

    def fill(animator: Animator, scale: float = 0.05) -> Animator:
        generator = torch.Generator().manual_seed(1)
        for parameter in animator.parameters():
            if not parameter.detach().any():
                parameter.data = scale * torch.randn(parameter.shape, generator=generator)
        return animator

    return fill


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which no weights can be found."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HIA_WEIGHTS", raising=False)
