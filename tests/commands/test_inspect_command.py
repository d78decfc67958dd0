"""`hia inspect`: from the command line to a page."""

import argparse
import shutil
from pathlib import Path

import fsspec
import pytest

from hia.commands import inspect
from hia.data.store.clip_store import StoreError
from tests.data.tiny_store import sample_clips, write_store


def run(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    inspect.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def plain_store(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four short clips."""
    return write_store(tmp_path_factory.mktemp("stores") / "plain", sample_clips(sample_data))


@pytest.fixture
def own_store(plain_store: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(plain_store, tmp_path / "store"))


def sheets(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "sheets").iterdir())


def test_the_page_lies_in_the_store_unless_told_otherwise(own_store, capsys):
    run(own_store)
    page = own_store / "inspection" / "index.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {page}" and page.is_file()
    assert sheets(own_store / "inspection") == ["clip000", "clip001", "clip002", "clip003"]


def test_a_store_stays_whole_when_its_page_is_in_it(own_store):
    run(own_store, "--clips", 0)
    run(own_store, "--clips", 0)


def test_output_clips_and_check_are_heeded(own_store, tmp_path):
    (own_store / "clips" / "cl" / "clip003.safetensors").touch()
    run(own_store, "--output", tmp_path / "a b" / "page", "--clips", 2, "--check", "size")
    assert sheets(tmp_path / "a b" / "page") == ["clip001", "clip003"]
    assert not (own_store / "inspection").exists()


def test_named_clips_are_shown(plain_store, tmp_path):
    run(plain_store, "--output", tmp_path, "--clip", "clip002", "--clip", "clip000")
    assert sheets(tmp_path) == ["clip000", "clip002"]


def test_progress_is_shown(plain_store, tmp_path, capsys):
    run(plain_store, "--output", tmp_path, "--clips", 1)
    assert "contact sheets: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clip", "clip9"], "no clip has the id 'clip9'"),
        (["--clip", "clip000", "--seed", "1"], "use one or the other"),
        (["--clips", "-2"], "at least 0, not -2"),
        (["--seed", "-1"], "--seed must be at least 0, not -1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(plain_store, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(plain_store, "--output", tmp_path / "page", *options)
    assert not (tmp_path / "page").exists()


def test_a_damaged_store_is_refused_with_its_message(own_store):
    clip = own_store / "clips" / "cl" / "clip001.safetensors"
    clip.write_bytes(clip.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=r"clip001\.safetensors .* was altered"):
        run(own_store)
    clip.unlink()
    with pytest.raises(StoreError, match=r"clip001\.safetensors .* is missing"):
        run(own_store, "--check", "size")


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no clip store here"):
        run(tmp_path)


def test_a_store_elsewhere_needs_a_place_for_its_page(plain_store, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote = fsspec.filesystem("memory")
    remote.put(str(plain_store), "/inspected-store", recursive=True)
    try:
        with pytest.raises(ValueError, match="--output"):
            run("memory://inspected-store", "--check", "size")
        run("memory://inspected-store", "--check", "size", "--clips", 1, "--output", tmp_path / "page")
        assert len(sheets(tmp_path / "page")) == 1
        copied = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert len(copied) == 1  # only what is shown is fetched
    finally:
        remote.rm("/inspected-store", recursive=True)
