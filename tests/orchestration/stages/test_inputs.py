"""The stages from videos to a clip store, and stores that are out of date."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hia.config import Config
from hia.data.preprocess.build_store import run_in_process
from hia.data.store.clip_store import StoreError, open_store
from orchestration.chain import StageRun
from orchestration.stages.inputs import Preprocessing, store_fingerprint, use_store, write_dancer_videos
from orchestration.tracking.journal import JournalWriter

Configure = Callable[..., Config]
SETTINGS = ("preprocess.least_seconds=0.3", "dancers.count=3", "dancers.seconds=0.5", "dancers.fps=12")


@pytest.fixture(scope="module")
def dancers(tmp_path_factory: pytest.TempPathFactory, tiny_config: Configure) -> Path:
    """The folder of a finished stage with three dancers."""
    folder = tmp_path_factory.mktemp("dancers")
    write_dancer_videos(stage_run(tiny_config(*SETTINGS), folder))
    return folder


@pytest.fixture
def videos(dancers: Path, tmp_path: Path) -> Path:
    """A folder with two of the three dancers."""
    for number in (0, 1):
        add(dancers, tmp_path / "videos", number)
    return tmp_path / "videos"


@pytest.fixture
def preprocess(videos: Path, tmp_path: Path, tiny_config: Configure) -> Callable[..., dict[str, float]]:
    """Preprocess the videos, with some values changed."""

    def run(*overrides: str) -> dict[str, float]:
        config = tiny_config(f"data={videos}", *SETTINGS, *overrides)
        return Preprocessing(config, run_in_process).run(stage_run(config, tmp_path / "stage"))

    return run


@pytest.fixture
def outdated(videos: Path, tmp_path: Path, tiny_config: Configure) -> Callable[..., str | None]:
    """The reason why the store is out of date, with some values changed."""

    def find(*overrides: str) -> str | None:
        return Preprocessing(tiny_config(f"data={videos}", *SETTINGS, *overrides)).outdated(tmp_path / "stage", {})

    return find


def stage_run(config: Config, folder: Path, **inputs: Path) -> StageRun:
    folder.mkdir(parents=True, exist_ok=True)
    journal = JournalWriter(folder / "journal.jsonl")
    return StageRun(folder, inputs, journal, None, config, "")  # type: ignore[arg-type]


def add(dancers: Path, videos: Path, number: int, name: str | None = None) -> None:
    videos.mkdir(exist_ok=True)
    for kind in ("mp4", "npz"):
        shutil.copy(dancers / "videos" / f"dancer_{number:03d}.{kind}", videos / f"{name or number}.{kind}")


def test_the_store_is_noted_for_the_stages_that_follow(
    preprocess: Callable[..., dict[str, float]], tmp_path: Path, tiny_config: Configure
) -> None:
    metrics = preprocess()
    follower = stage_run(tiny_config(), tmp_path / "next", preprocess=tmp_path / "stage")
    store = open_store(follower.store)
    assert metrics["clips_train"] == len(store.clips) == 2
    assert store_fingerprint(tmp_path / "stage") == store.fingerprint


def test_a_store_is_out_of_date_when_videos_or_the_split_change(
    preprocess: Callable[..., dict[str, float]], outdated: Callable[..., str | None], dancers: Path, videos: Path
) -> None:
    preprocess()
    assert outdated() is None
    assert outdated("preprocess.test_share=0.5") == "preprocess.test_share has changed"
    add(dancers, videos, 2)
    add(dancers, videos, 2, name="1")
    assert outdated() == "videos: 1 new, 1 changed"
    os.remove(videos / "1.mp4")
    assert outdated() == "videos: 1 new"


def test_bringing_it_up_to_date_preprocesses_new_videos_only(
    preprocess: Callable[..., dict[str, float]], outdated: Callable[..., str | None], dancers: Path, videos: Path
) -> None:
    preprocess()
    add(dancers, videos, 2)
    assert preprocess("preprocess.test_share=0.4", "preprocess.split_seed=1")["done_before"] == 2
    assert outdated("preprocess.test_share=0.4", "preprocess.split_seed=1") is None


def test_a_damaged_store_is_made_whole(
    preprocess: Callable[..., dict[str, float]], outdated: Callable[..., str | None], tmp_path: Path
) -> None:
    preprocess()
    clip = next((tmp_path / "stage" / "store" / "clips").rglob("*.safetensors"))
    clip.unlink()
    assert "is missing" in str(outdated())
    assert preprocess()["done_before"] == 1
    assert outdated() is None


def test_videos_without_a_clip_to_train_on_are_an_error_that_names_them(
    preprocess: Callable[..., dict[str, float]],
) -> None:
    with pytest.raises(StoreError, match=r"nothing to train on: it has no clips; rejected:\n  0\.mp4: "):
        preprocess("preprocess.least_seconds=5")


def test_a_store_that_was_given_is_used_where_it_is(
    preprocess: Callable[..., dict[str, float]], tmp_path: Path, tiny_config: Configure
) -> None:
    preprocess()
    store = tmp_path / "stage" / "store"
    use_store(stage_run(tiny_config(f"data={store}"), tmp_path / "given"))
    follower = stage_run(tiny_config(), tmp_path / "next", preprocess=tmp_path / "given")
    assert follower.store == str(store)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("cluster")
def test_a_cluster_makes_the_same_store(
    preprocess: Callable[..., dict[str, float]], videos: Path, tmp_path: Path, tiny_config: Configure
) -> None:
    preprocess()
    config = tiny_config(f"data={videos}", *SETTINGS)
    Preprocessing(config).run(stage_run(config, tmp_path / "on a cluster"))
    assert store_fingerprint(tmp_path / "on a cluster") == store_fingerprint(tmp_path / "stage")
