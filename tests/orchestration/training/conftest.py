"""A store of tiny generated dancers, and runs over it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hia.config import load_config
from hia.data.preprocess.build_store import build_store
from hia.synthetic import write_dancers
from orchestration.training.run import TrainingRun
from tests.orchestration.training.tiny_runs import SMALLEST, TINY, tiny_run


@pytest.fixture(scope="session")
def dancers_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dancers")
    write_dancers(folder / "videos", 4, seconds=1.5, width=64, height=128, fps=30, seed=3)
    build_store([str(folder / "videos")], str(folder / "store"), load_config(TINY, SMALLEST))
    return folder / "store"


@pytest.fixture
def a_run(dancers_store: Path, tmp_path: Path) -> Callable[..., TrainingRun]:
    """`a_run("key=value", …, stage="spatial", name="folder", weights=())`."""
    return partial(tiny_run, dancers_store, tmp_path)
