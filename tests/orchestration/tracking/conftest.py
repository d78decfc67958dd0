"""A tracking storage and a stage's run in it."""

from pathlib import Path

import pytest

from orchestration.tracking import Run, Tracking, connect_tracking
from tests.orchestration.tracking.seen import CONFIG


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def tracking(storage: Path) -> Tracking:
    return connect_tracking(storage)


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """A fingerprint that no other test uses."""
    return f"{hash(request.node.name) & (2**64 - 1):064x}"


@pytest.fixture
def stage(tracking: Tracking, mark: str) -> Run:
    parent = tracking.start_pipeline(mark, CONFIG, {})
    return tracking.start_stage(parent, "spatial", mark, CONFIG, {})
