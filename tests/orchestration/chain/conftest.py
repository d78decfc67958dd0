"""The toy chain of each test, and the tracking server of them all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hia.config import Config
from orchestration.tracking import Tracking, connect_tracking
from tests.orchestration.chain.toy import Toy


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return connect_tracking(tmp_path_factory.mktemp("tracking"))


@pytest.fixture
def toy(tmp_path: Path, tiny_config: Callable[..., Config], tracking: Tracking) -> Toy:
    (tmp_path / "numbers.txt").write_text("3 1 2")
    return Toy(tmp_path, tiny_config, tracking)
