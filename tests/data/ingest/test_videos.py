"""Every video of the inputs is found once, under its own name, with its keypoints; problems are reported."""

import http.server
import os
import threading
from functools import partial
from pathlib import Path

import fsspec
import pytest

from hia.data.ingest.videos import find_videos
from hia.pose.keypoint_files import load_keypoints
from hia.video import local_copy
from tests.conftest import is_shipped


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(*inputs):
    return [source.name for source in find_videos([str(one) for one in inputs]).sources]


def reasons(found):
    return {(name, reason) for name, reason, _ in found.problems}


@pytest.fixture
def memory():
    """An empty in-memory file system behind `memory://`."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


def test_folders_are_searched_through_and_names_are_relative_to_them(tmp_path):
    touch(tmp_path, "b.mp4", "a/c.MOV", "a/deep/d.webm", "a/deep/e.mkv", "f.avi", "g.m4v", "h.gif")
    found = find_videos([str(tmp_path)])
    expected = ["a/c.MOV", "a/deep/d.webm", "a/deep/e.mkv", "b.mp4", "f.avi", "g.m4v", "h.gif"]
    assert [source.name for source in found.sources] == expected
    assert [source.location for source in found.sources] == [str(tmp_path / name) for name in expected]
    assert found.problems == ()


def test_other_files_are_counted_and_hidden_ones_not_seen(tmp_path):
    touch(tmp_path, "a.mp4", "b.PNG", "c.png", "notes", ".hidden.mp4", ".cache/d.mp4")
    found = find_videos([str(tmp_path)])
    assert names(tmp_path) == ["a.mp4"] and found.ignored == {"": 1, ".png": 2}


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path):
    touch(tmp_path, "clip.dat", "clip", "other.dat")
    assert names(tmp_path / "clip.dat", tmp_path / "clip") == ["clip", "clip.dat"]


@pytest.mark.parametrize("name", ["a 'b' \"c\".mp4", "舞 ü 💃.mp4", "two\nlines.mp4", "#1 100%?*[x].mp4", "a::b.mp4"])
def test_any_name_is_found_and_opens(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    for given in (tmp_path, tmp_path / name):
        [source] = find_videos([str(given)]).sources
        with local_copy(source.location) as path:
            assert source.name == name and path.read_bytes() == b"content"


def test_a_name_that_is_not_utf8_is_shown_so_that_it_can_be_written(tmp_path):
    path = os.fsencode(tmp_path) + b"/bad\xff.mp4"
    Path(os.fsdecode(path)).write_bytes(b"content")
    [source] = find_videos([str(tmp_path)]).sources
    assert source.name == "bad\\xff.mp4" and Path(source.location).read_bytes() == b"content"


def test_linked_folders_are_followed_and_each_real_folder_is_visited_once(tmp_path):
    touch(tmp_path, "data/real/a.mp4", "elsewhere/b.mp4")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "real")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "data") == ["linked/b.mp4", "real/a.mp4"]
    assert find_videos([str(tmp_path / "data")]).problems == ()


def test_links_that_lead_nowhere_or_in_circles_are_reported(tmp_path):
    touch(tmp_path, "a/b/c.mp4")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    (tmp_path / "gone.mp4").symlink_to("absent.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = find_videos([str(tmp_path)])
    assert [source.name for source in found.sources] == ["a/b/c.mp4"]
    assert reasons(found) == {
        ("a/b/up", "symlink_loop"),
        ("self.mp4", "symlink_loop"),
        ("gone.mp4", "broken_symlink"),
        ("pipe.mp4", "not_a_file"),
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_reported_and_the_others_are_searched(tmp_path):
    touch(tmp_path, "a/b.mp4", "locked/c.mp4")
    (tmp_path / "locked").chmod(0)
    found = find_videos([str(tmp_path)])
    (tmp_path / "locked").chmod(0o700)
    assert [source.name for source in found.sources] == ["a/b.mp4"]
    assert reasons(found) == {("locked", "unreadable_folder")}


def test_an_absent_input_is_reported_beside_the_others(tmp_path):
    touch(tmp_path, "a.mp4")
    found = find_videos([str(tmp_path), str(tmp_path / "absent.mp4")])
    assert len(found.sources) == 1 and reasons(found) == {("absent.mp4", "missing")}


def test_like_names_of_several_inputs_get_their_folders_in_front(tmp_path):
    touch(tmp_path, "x/one/clip.mp4", "x/two/clip.mp4", "y/two/clip.mp4", "y/two/other.mp4")
    given = [tmp_path / "x/one", tmp_path / "x/two", tmp_path / "y/two"]
    expected = ["one/clip.mp4", "other.mp4", "x/two/clip.mp4", "y/two/clip.mp4"]
    assert names(*given) == names(*reversed(given)) == expected


def test_a_video_that_several_inputs_name_is_taken_once(tmp_path):
    touch(tmp_path, "a/clip.mp4", "a/b/other.mp4")
    assert names(tmp_path, tmp_path / "a", tmp_path / "a/clip.mp4") == ["a/b/other.mp4", "a/clip.mp4"]


def test_relative_inputs_give_locations_that_hold_anywhere(tmp_path, monkeypatch):
    touch(tmp_path, "clips/a.mp4", "keypoints/a.npz")
    monkeypatch.chdir(tmp_path / "clips")
    [source] = find_videos(["."]).sources
    assert (source.location, source.sidecar) == (str(tmp_path / "clips/a.mp4"), str(tmp_path / "keypoints/a.npz"))


def test_a_list_names_files_folders_and_addresses(tmp_path):
    touch(tmp_path, "data/a.mp4", "data/sub/b.mp4", "data/more/c.mp4", "outside/d.dat")
    lines = [
        "# videos",
        "",
        "a.mp4",
        "sub/b.mp4",
        "more",
        f"{tmp_path}/outside/d.dat",
        "absent.mp4",
        "memory://videos/e%20f.mp4?key=1",
        "list.txt",
    ]
    (tmp_path / "data/list.txt").write_text("\n".join(lines))
    found = find_videos([str(tmp_path / "data/list.txt")])
    assert [source.name for source in found.sources] == ["a.mp4", "c.mp4", "d.dat", "e%20f.mp4", "sub/b.mp4"]
    assert found.sources[3].location == "memory://videos/e%20f.mp4?key=1"
    assert reasons(found) == {("absent.mp4", "missing")}


def test_a_list_that_is_no_text_is_reported(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ValueError, match=r"list\.txt: a list must be UTF-8 text"):
        find_videos([str(tmp_path / "list.txt")])


def test_nothing_found_says_where_it_was_looked_for(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    with pytest.raises(
        ValueError, match=r"no video in .*: looked for \.avi.*\.mp4.*other files there: 2 \.png"
    ) as caught:
        find_videos([str(tmp_path), str(tmp_path / "absent")])
    assert str(tmp_path) in str(caught.value) and "absent: there is no such file" in str(caught.value)
    with pytest.raises(ValueError, match="no video in no input"):
        find_videos([])


def test_sidecars_are_found_in_order(tmp_path):
    places = ["clips/a.npz", "clips/a.json", "clips/a_keypoints/0_keypoints.json", "clips/a/0_keypoints.json"]
    places.append("keypoints/a.npz")
    touch(tmp_path, "clips/a.mp4", *places)
    for place in places:
        expected = tmp_path / place
        found = find_videos([str(tmp_path / "clips")])
        assert found.sources[0].sidecar == str(expected.parent if "_keypoints.json" in place else expected)
        expected.unlink()
    assert find_videos([str(tmp_path)]).sources[0].sidecar is None


def test_a_folder_of_the_videos_name_without_keypoint_files_is_no_sidecar(tmp_path):
    touch(tmp_path, "a.mp4", "a/thumbnail.png", "a_keypoints/readme.md")
    assert find_videos([str(tmp_path)]).sources[0].sidecar is None


def test_sidecars_in_use_are_not_counted_as_ignored(tmp_path):
    touch(tmp_path, "clips/a.mp4", "keypoints/a.npz", "clips/b.mp4", "clips/b_keypoints/0_keypoints.json", "c.npz")
    assert find_videos([str(tmp_path)]).ignored == {".npz": 1}


def test_the_sample_clips_are_found_with_their_keypoints(sample_data):
    sources = find_videos([str(sample_data / "clips")]).sources
    assert len(sources) == (2 if is_shipped(sample_data) else 8)
    for source in sources:
        assert source.sidecar is not None and len(load_keypoints(source.sidecar)) > 0


def test_remote_folders_files_lists_and_globs_are_searched_like_local_ones(memory):
    for name in ("data/a.mp4", "data/a.npz", "data/sub/b x.mov", "data/note.md", "keypoints/c.npz", "data/c.mp4"):
        memory.pipe(f"/bucket/{name}", b"content of " + name.encode())
    memory.pipe("/bucket/list.txt", b"data/a.mp4\nmemory://bucket/data/sub\n")
    found = find_videos(["memory://bucket/data"])
    assert [source.name for source in found.sources] == ["a.mp4", "c.mp4", "sub/b x.mov"]
    with local_copy(found.sources[2].location) as path:
        assert path.read_bytes() == b"content of data/sub/b x.mov"
    sidecars = [source.sidecar for source in found.sources]
    assert sidecars == ["memory://bucket/data/a.npz", "memory://bucket/keypoints/c.npz", None]
    assert found.ignored == {".md": 1}
    assert names("memory://bucket/data/*.mp4") == ["a.mp4", "c.mp4"]
    assert names("memory://bucket/data/c.mp4") == ["c.mp4"]
    assert names("memory://bucket/list.txt") == ["b x.mov", "data/a.mp4"]


def test_remote_inputs_that_are_not_there_are_reported(memory):
    memory.pipe("/bucket/a.mp4", b"")
    given = ["memory://bucket", "memory://bucket/absent", "memory://bucket/*.mkv", "nonsense://x/y.mp4"]
    assert reasons(find_videos(given)) == {
        ("memory://bucket/absent", "missing"),
        ("memory://bucket/*.mkv", "missing"),
        ("nonsense://x/y.mp4", "unreadable"),
    }


def test_a_web_servers_listing_is_a_folder(tmp_path):
    touch(tmp_path, "a.mp4", "b.txt", "a.npz")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        [source] = find_videos([f"{address}/"]).sources
        named = names(f"{address}/a.mp4?key=1")
        server.shutdown()
    assert (source.name, source.location, source.sidecar) == ("a.mp4", f"{address}/a.mp4", f"{address}/a.npz")
    assert named == ["a.mp4"]
