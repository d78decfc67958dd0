"""Local copies of remote videos: read like local files, and removed afterwards."""

import http.server
import threading
from functools import partial

import fsspec
import numpy as np
import pytest
from PIL import Image

from hia.video import VideoError, iterate, local_copy, probe, write_video


@pytest.fixture
def clip(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "clip one.mp4", frames, 25)
    return tmp_path / "clip one.mp4"


@pytest.fixture
def memory():
    """An empty in-memory file system behind `memory://`."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


def test_a_local_file_is_not_copied(clip):
    for location in (clip, str(clip), f"file://{clip}"):
        with local_copy(location) as path:
            assert path == clip
    assert clip.exists()


def test_a_copy_has_the_content_and_the_suffix_and_goes_afterwards(clip, memory):
    memory.pipe("/bucket/clip one.mp4", clip.read_bytes())
    with local_copy("memory://bucket/clip one.mp4") as path:
        assert path.suffix == ".mp4" and path.read_bytes() == clip.read_bytes()
        assert probe(path).num_frames == 5
    assert not path.exists() and not path.parent.exists()


def test_a_copy_goes_when_the_work_fails(clip, memory):
    memory.pipe("/clip.mp4", clip.read_bytes())
    with pytest.raises(RuntimeError, match="stopped"), local_copy("memory://clip.mp4") as path:
        raise RuntimeError("stopped")
    assert not path.exists()


def test_a_folder_of_images_is_copied_with_its_names(tmp_path, memory):
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number,) * 3).save(tmp_path / "frame.png")
        memory.pipe(f"/00001/images/{number}.png", (tmp_path / "frame.png").read_bytes())
    with local_copy("memory://00001/images") as path:
        assert [int(frame.image.mean()) for frame in iterate(path)] == [0, 80, 160]
    assert not path.exists()


def test_a_web_server_is_read_too(clip):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=clip.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with local_copy(f"{address}/clip%20one.mp4?key=1") as path:
            assert path.suffix == ".mp4" and path.read_bytes() == clip.read_bytes()
        with pytest.raises(VideoError, match=r"absent\.mp4") as caught, local_copy(f"{address}/absent.mp4"):
            pass
        server.shutdown()
    assert caught.value.reason in ("missing", "unreadable")


def test_what_cannot_be_fetched_is_named_with_a_reason(memory):
    for location, reason in {"memory://absent.mp4": "missing", "nonsense://clip.mp4": "unreadable"}.items():
        with pytest.raises(VideoError, match=location) as caught, local_copy(location):
            pass
        assert caught.value.reason == reason and isinstance(caught.value, OSError)
