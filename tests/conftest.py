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
    # Seconds to import, which the processes that tests start need not spend.
    from hia.models.animator import Animator
    from tests.data.tiny_store import TinyClip

# The networks of the tests are so small that more threads only wait for each other.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_CONFIG = REPOSITORY / "tests" / "tiny.yaml"
SHIPPED_DATA = REPOSITORY / "tests" / "data" / "real"

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


# On a machine that does other work beside the tests: Ray gives its own servers a minute to answer before it takes the
# machine for lost, and kills no worker because all processes together leave little memory.
PATIENT_RAY = {"RAY_health_check_timeout_ms": "60000", "RAY_memory_monitor_refresh_ms": "0"}

# Seconds that groups of tests take which start clusters, servers and chains, on two idle cores: `make test` begins with
# the longest, so that both of its processes end at about the same time.
GROUP_SECONDS = {
    **{"ray": 400, "workers": 120, "real clips": 150, "submitted jobs": 150, "real sweep": 120, "machines": 70},
    **{"test_train_stage": 70, "test_served_model": 60, "tracking server": 60, "test_demo_command": 40},
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups run in one process each, the longest first; then the rest, spread over both, in the order of files.

    The slow tests of a file are a group, unless they say another: else both processes would make their fixtures.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))

    def rank(item: pytest.Item) -> float:
        mark = item.get_closest_marker("xdist_group")
        return -GROUP_SECONDS.get(mark.args[0], 1) if mark else 0

    items.sort(key=rank)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real sample clips with keypoints, pictures, and in the large one more clips and small real weights.

    The first of `$HIA_SAMPLE_DATA`, `../shared/data` beside the checkout, and the two clips of `tests/data/real`.
    """
    beside = REPOSITORY.parent / "shared" / "data"
    default = beside if (beside / "manifest.yaml").is_file() else SHIPPED_DATA
    folder = SampleData(os.environ.get("HIA_SAMPLE_DATA") or default).resolve()
    if not (folder / "manifest.yaml").is_file():
        pytest.fail(f"HIA_SAMPLE_DATA={folder} has no sample data: it has no manifest.yaml")
    return folder


def is_shipped(sample_data: Path) -> bool:
    """True for the few sample data of the repository, False for the large folder, of which tests ask more."""
    return Path(sample_data) == SHIPPED_DATA


def present(sample_data: Path, *names: str) -> list[str]:
    """The names of those clips that are among the shipped ones, at least one; of the large folder, all names."""
    if not is_shipped(sample_data):
        return list(names)
    return [name for name in names if Path(sample_data, "clips", f"{name}.mp4").is_file()]


class SampleData(type(Path())):
    """A path in the sample data: a test that asks the shipped ones for what only the large folder has is skipped."""

    def __truediv__(self, name: str) -> SampleData:
        path = super().__truediv__(name)
        if path.is_relative_to(SHIPPED_DATA) and not path.exists():
            wanted = path.relative_to(SHIPPED_DATA)
            pytest.skip(f"{wanted} is not among the shipped sample data: set HIA_SAMPLE_DATA to a folder that has it")
        return path


@pytest.fixture(scope="session")
def tiny_clips(sample_data: Path) -> list[TinyClip]:
    """The first 60 frames or fewer of four real clips at 64×112 px; the last is of the test split."""
    from tests.data.tiny_store import sample_clips

    return sample_clips(sample_data)


@pytest.fixture(scope="session")
def plain_store(tiny_clips: list[TinyClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store of `tiny_clips` with nothing that networks make."""
    from tests.data.tiny_store import write_store

    return write_store(tmp_path_factory.mktemp("stores") / "plain", tiny_clips)


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
