"""`hia preprocess`: command lines, outputs and messages."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from hia.cli import main
from hia.data.store.clip_store import open_store
from hia.io.files import Folder
from hia.video import read_frames
from tests.conftest import REPOSITORY
from tests.data.raw_videos import write_dance, write_networks

SMALL = ["--set", "width=32", "--set", "height=48", "--set", "preprocess.least_seconds=0.3", "--threads", "1"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Two short videos with keypoints beside them."""
    folder = tmp_path_factory.mktemp("raw") / "videos"
    folder.mkdir()
    for number in range(2):
        write_dance(folder / f"dance {number}.mp4", num_frames=12, seed=number)
    return folder


@pytest.fixture
def videos(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of the videos that a test may change, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(prepared, tmp_path / "videos"))


def run(*arguments: object) -> int:
    # If an option is given twice, the last one counts: the test's own.
    return main(["preprocess", "--quiet", *SMALL, *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents() -> dict[str, bytes]:
    """The content of the working folder, without the locks of stores."""
    return {name: content for name, content in files(Path.cwd()).items() if not name.endswith(".lock")}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The single message of a refused command line; the working folder must be unchanged."""
    before = contents()
    assert run(*arguments) == 2
    assert contents() == before
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("hia preprocess: ") and "Traceback" not in said.err
    return said.err


def test_a_folder_of_videos_becomes_a_store_and_the_summary_says_what_is_in_it(videos, capsys):
    (videos / "broken.mp4").write_bytes(b"")
    shutil.copy(videos / "dance 0.npz", videos / "broken.npz")
    (videos / "notes.md").touch()
    assert run(videos, "--output", "my store") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 videos, 0 of them done before"
    assert said[1].startswith("2 clips, 24 frames")
    assert said[2] == "rejected: 1 empty (each with its reason in my store/rejected.jsonl)"
    assert said[3].startswith("  broken.mp4: empty: ")
    assert said[4:] == [
        "other files, passed by: 1 .md",
        "clip store: my store   (look at it: hia inspect 'my store')",
    ]
    assert len(open_store("my store").clips) == 2


def test_a_second_run_finds_all_done_and_changes_nothing(videos, capsys):
    assert run(videos, "--output", "store") == 0
    before = files(Path("store"))
    assert run(videos, "--output", "store") == 0
    assert "2 videos, 2 of them done before" in capsys.readouterr().out
    assert files(Path("store")) == before


@pytest.mark.parametrize("place", ["videos/store", "link/store"])
def test_a_store_within_the_videos_is_not_taken_for_input(videos, capsys, place):
    Path("link").symlink_to(videos)
    assert run("videos", "--output", place) == 0
    before = files(videos / "store")
    shutil.copy(videos / "dance 0.mp4", videos / "store" / "clips" / "preview.mp4")
    assert run("videos", "--output", place) == 0
    (videos / "store" / "clips" / "preview.mp4").unlink()
    assert files(videos / "store") == before
    assert "passed by" not in capsys.readouterr().out


def test_a_remote_store_within_remote_videos_is_not_taken_for_input(videos, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(f"{videos}/", "/remote", recursive=True)
    try:
        assert run("memory://remote", "--output", "memory://remote/store") == 0
        first = memory.cat("/remote/store/manifest.jsonl")
        assert run("memory://remote", "--output", "memory://remote/store") == 0
        assert memory.cat("/remote/store/manifest.jsonl") == first
        assert "2 videos, 2 of them done before" in capsys.readouterr().out
    finally:
        memory.store.clear()


def test_file_urls_give_the_store_that_paths_give(videos):
    assert run(videos, "--output", "one") == 0
    assert run(videos.as_uri(), "--output", f"file://{videos.parent}/two") == 0
    assert files(Path("one")) == files(Path("two"))


@pytest.mark.parametrize("layout", ["clips/mine", "videos", "work"])
def test_a_folder_with_other_things_in_it_is_never_made_a_store(videos, capsys, layout):
    """A run removes unused files in the store: files of others would be lost."""
    shutil.copytree(videos, Path("own", layout))
    assert "own is no clip store, and not empty" in refused(capsys, "videos", "--output", "own")


def test_settings_of_another_program_are_left_alone(videos, capsys):
    Path("own").mkdir()
    Path("own/settings.json").write_text('{"version": 1, "settings": {}}')
    assert "not that of a clip store" in refused(capsys, videos, "--output", "own")


@pytest.mark.parametrize("output", ["videos", "./videos/", "link", "file://{}/videos"])
def test_the_videos_folder_itself_cannot_be_the_store(videos, capsys, output):
    Path("link").symlink_to(videos)
    assert "has the videos in it" in refused(capsys, "videos", "--output", output.format(videos.parent))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--output", "store"], r"no video in nowhere.*\n.*/nowhere: there is no such file or folder"),
        (["videos", "--output", ""], "--output must name the folder"),
        (["videos", "--output", "file"], "file: this is a file; a folder is needed"),
        (["videos", "--output", "file/store"], "file/store: cannot be written to"),
        (["videos", "--output", "strange://store"], "strange://store: such a place cannot be opened"),
        (["videos", "--output", "store", "--threads", "0"], "--threads must be at least 1, not 0"),
        (["videos", "--output", "store", "--device", "nonsense"], "device nonsense cannot be used"),
        (["videos", "--output", "store", "--preset", "huge"], "unknown preset 'huge'"),
        (["videos", "--output", "store", "--set", "preprocess.fsp=3"], "preprocess.fsp = 3 .did you mean fps"),
        (["videos", "--output", "store", "--set", "preprocess.test_list=no.txt"], "no.txt"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(videos, capsys, arguments, said):
    Path("file").touch()
    assert re.search(said, refused(capsys, *arguments))


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"preset": "small", "set": "preprocess.latents=false"}, "mobilefacenet"),
        ({"preset": "paper", "set": "preprocess={image_tokens: false, latents: false}"}, "buffalo_l"),
    ],
)
def test_missing_weights_are_told_before_any_work(videos, capsys, no_weights, settings, missing):
    said = refused(capsys, videos, "--output", "store", *(f"--{key}={value}" for key, value in settings.items()))
    assert "weights not found" in said and missing in said and "To get them: " in said


def test_a_run_that_lacked_networks_does_not_bind_the_next_one_to_its_settings(videos, capsys, no_weights):
    (videos / "dance 1.npz").unlink()
    assert run(videos, "--output", "store", "--set=preprocess.pose.detector=nowhere.onnx") == 2
    assert "weights not found: nowhere.onnx" in capsys.readouterr().err
    networks = write_networks(Path("networks"))
    assert run(videos, "--output", "store", "--set=preprocess.fps=15", *(f"--set={one}" for one in networks)) == 0
    assert [clip.fps for clip in open_store("store").clips] == [15, 15]


def test_other_settings_than_the_store_s_are_named(videos, capsys):
    assert run(videos, "--output", "store") == 0
    before = files(Path("store"))
    assert run(videos, "--output", "store", "--set=preprocess.jpeg_quality=80") == 2
    assert "other settings (preprocess.jpeg_quality: 95 there, 80 now)" in capsys.readouterr().err
    assert files(Path("store")) == before


def test_another_split_seed_only_moves_clips_between_splits(videos):
    assert run(videos, "--output", "store") == 0
    before = files(Path("store"))
    seeds = [f"--set=preprocess.split_seed={seed}" for seed in range(5)]
    splits = set()
    for seed in seeds:
        assert run(videos, "--output", "store", "--set=preprocess.test_share=0.5", seed) == 0
        splits.add(tuple(clip.split for clip in open_store("store").clips))
    assert len(splits) > 1
    after = files(Path("store"))
    assert {name for name in before if before[name] != after.get(name)} == {"manifest.jsonl"}


def test_names_in_the_test_list_that_fit_no_video_are_told(videos, capsys):
    Path("test.txt").write_text("dance 0\ndnace 1.mp4\n")
    assert run(videos, "--output", "store", "--set=preprocess.test_list=test.txt") == 0
    assert [clip.split for clip in open_store("store").clips] == ["test", "train"]
    assert "1 names in the test list fit no video in the store: dnace 1.mp4" in capsys.readouterr().out


def test_a_changed_video_takes_the_place_of_the_former_one_and_that_is_told(videos, capsys):
    assert run(videos, "--output", "store") == 0
    former = {clip.video: clip.file for clip in open_store("store").clips}
    write_dance(videos / "dance 1.mp4", num_frames=15, seed=5)
    assert run(videos, "--output", "store") == 0
    clips = {clip.video: clip for clip in open_store("store").clips}
    assert clips["dance 0.mp4"].file == former["dance 0.mp4"] and clips["dance 1.mp4"].num_frames == 15
    assert not Path("store", former["dance 1.mp4"]).exists()
    said = capsys.readouterr().out
    assert "1 videos have changed under their names, what an earlier run made of them is gone: dance 1.mp4" in said


def test_a_renamed_video_keeps_its_clips_under_the_new_name(videos, capsys):
    assert run(videos, "--output", "store") == 0
    for kind in (".mp4", ".npz"):
        (videos / f"dance 1{kind}").rename(videos / f"Tänzerin 'ü' \"q\"{kind}")
    assert run(videos, "--output", "store") == 0
    assert "2 videos, 2 of them done before" in capsys.readouterr().out
    assert {clip.video for clip in open_store("store").clips} == {"dance 0.mp4", "Tänzerin 'ü' \"q\".mp4"}


def test_clips_of_a_removed_video_stay_and_that_is_told(videos, capsys):
    assert run(videos, "--output", "store") == 0
    (videos / "dance 1.mp4").unlink()
    assert run(videos, "--output", "store") == 0
    assert len(open_store("store").clips) == 2
    assert "1 videos of earlier runs are not among these inputs, and stay" in capsys.readouterr().out


def test_two_runs_at_once_are_one_too_many(videos, capsys):
    with Folder("store").lock():
        assert "another run is writing to this store" in refused(capsys, videos, "--output", "store")


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        ({"train/a.mp4": 0, "test/b.mp4": 1}, {"train/a.mp4": "train", "test/b.mp4": "test"}),
        ({"a.mp4": 0, "b.mp4": 1, "fashion_train.txt": "a.mp4", "fashion_test.txt": "b.mp4"}, {"b.mp4": "test"}),
    ],
)
def test_the_split_of_a_published_data_set_is_that_of_the_manifest(videos, layout, splits):
    for name, content in layout.items():
        file = Path("fashion", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.write_text(content)
            continue
        for kind in (".mp4", ".npz"):
            shutil.copy(videos / f"dance {content}{kind}", file.with_suffix(kind))
    assert run("fashion", "--output", "store", "--set=preprocess.test_share=1") == 0
    assert {clip.video: clip.split for clip in open_store("store").clips}.items() >= splits.items()


def test_frame_folders_of_tiktok_become_clips(videos):
    images = Path("TikTok_dataset/00007/images")
    images.mkdir(parents=True)
    Path("TikTok_dataset/00007/masks").mkdir()
    for number, frame in enumerate(read_frames(videos / "dance 0.mp4"), 1):
        for folder in (images, images.parent / "masks"):
            Image.fromarray(frame).save(folder / f"{number:04d}.png")
    shutil.copy(videos / "dance 0.npz", "TikTok_dataset/00007.npz")
    assert run("TikTok_dataset", "--output", "store") == 0
    assert [(clip.video, clip.num_frames, clip.fps) for clip in open_store("store").clips] == [("00007", 12, 30.0)]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_the_next_one_goes_on(videos, stop):
    for number in range(2, 5):
        write_dance(videos / f"dance {number}.mp4", num_frames=150, seed=number)
    command = [sys.executable, "-m", "hia.cli", "preprocess", "videos", "--output=store", "--quiet", *SMALL]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    # Processes started in the background, as tests may be, ignore Ctrl-C, and so would all processes that they start.
    prepare = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=prepare) as stopped:
        while not list(Path("store").glob("videos/*.json")) and stopped.poll() is None:
            time.sleep(0.01)
        stopped.send_signal(stop)
        assert stopped.communicate()[1] == "hia preprocess: interrupted\n"
    assert stopped.returncode == 130
    assert run(videos, "--output", "store") == 0 and run(videos, "--output", "undisturbed") == 0
    assert files(Path("store")) == files(Path("undisturbed"))


def test_bars_are_rarely_redrawn_where_there_is_no_terminal(videos, capsys):
    assert main(["preprocess", "videos", "--output", "store", *SMALL]) == 0
    drawn = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if line.strip()]
    assert len(drawn) <= 6 and any("preprocessing: 100%" in line for line in drawn)
