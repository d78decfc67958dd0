"""A folder, local or remote: complete files or none, listing, copies with the right content, one writer."""

import os
import subprocess
import sys

import pytest

from hia.io.files import ASIDE, Folder, WriteError, atomic_directory, atomic_write
from hia.io.hashing import bytes_sha256, file_sha256


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path):
    if request.param == "local":
        yield Folder(tmp_path / "store")
    else:
        remote = Folder(f"memory://{tmp_path.name}")
        yield remote
        remote.files.store.clear()


def test_what_is_written_is_read(folder):
    folder.write("clips/ab/one.bin", b"content")
    folder.write("clips/ab/one.bin", b"newer")
    assert folder.read("clips/ab/one.bin") == b"newer"
    assert folder.size("clips/ab/one.bin") == 5
    assert folder.exists("clips/ab/one.bin") and not folder.exists("clips/ab/two.bin")
    assert folder.names("clips/ab") == ["one.bin"]
    assert folder.names("nothing") == [] and folder.size("nothing") is None


def test_files_and_folders_are_removed(folder):
    folder.write("work/a/1", b"1")
    folder.write("work/a/2", b"2")
    folder.remove("work/a")
    folder.remove("work/a")
    assert folder.names("work/a") == []
    with pytest.raises(FileNotFoundError):
        folder.read("work/a/1")


def test_a_remote_file_is_copied_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote = Folder(f"memory://{tmp_path.name}")
    remote.write("clips/one", b"content")
    copy = remote.local("clips/one", bytes_sha256(b"content"))
    assert copy.read_bytes() == b"content" and file_sha256(copy) == bytes_sha256(b"content")
    remote.write("clips/one", b"altered")
    assert remote.local("clips/one", bytes_sha256(b"content")) == copy
    with pytest.raises(ValueError, match=r"clips/one .*has changed"):
        remote.local("clips/one", bytes_sha256(b"other"))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [copy]


def test_a_write_that_fails_says_so_and_leaves_the_older_file(tmp_path):
    """The file is larger than the operating system lets this process write, as with a full disk."""
    program = (
        "import resource, sys; from hia.io.files import Folder, WriteError\n"
        "folder = Folder(sys.argv[1]); folder.write('a', b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: folder.write('a', b'x' * 2000)\n"
        "except WriteError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "a cannot be written (File too large)" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_writing_where_a_file_is_in_the_way_is_an_error(tmp_path):
    (tmp_path / "clips").write_text("")
    with pytest.raises(WriteError, match="clips/a cannot be written"):
        Folder(tmp_path).write("clips/a", b"")


def test_half_written_files_are_not_listed_and_can_be_cleared(tmp_path):
    folder = Folder(tmp_path)
    folder.write("videos/a.json", b"{}")
    (tmp_path / "videos" / f"{ASIDE}123").write_bytes(b"half")
    (tmp_path / "videos" / f"{ASIDE}456" / f"{ASIDE}789").mkdir(parents=True)
    assert folder.names("videos") == ["a.json"]
    folder.remove_aside()
    assert os.listdir(tmp_path / "videos") == ["a.json"]


def test_a_file_that_is_being_written_is_found_by_no_search_for_its_kind(tmp_path):
    with pytest.raises(KeyError), atomic_write(tmp_path / "note.json") as aside:
        aside.write_text("half")
        assert list(tmp_path.iterdir()) == [aside] and not list(tmp_path.rglob("*.json"))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_directory_is_replaced_as_a_whole_or_stays(tmp_path):
    model = tmp_path / "model"
    for content in ("old", "new"):
        with atomic_directory(model) as aside:
            (aside / content).touch()
            assert aside.parent == tmp_path
        assert os.listdir(model) == [content]
    with pytest.raises(RuntimeError), atomic_directory(model) as aside:
        (aside / "broken").touch()
        raise RuntimeError
    assert os.listdir(model) == ["new"] and os.listdir(tmp_path) == ["model"]


def test_one_process_writes_at_a_time(tmp_path):
    with Folder(tmp_path).lock():
        other = "import sys; from hia.io.files import Folder\nwith Folder(sys.argv[1]).lock(): pass"
        done = subprocess.run([sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 1 and "another run is writing to this store" in done.stderr
    with Folder(tmp_path).lock():
        pass
