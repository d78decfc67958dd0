"""`python -m orchestration.preprocess` on a cluster that was started elsewhere: paths, weights, stops, and silence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.build_store import build_store, run_in_process
from hia.data.preprocess.video_preprocessor import Job, PreprocessorFactory
from hia.data.store.clip_store import open_store
from hia.data.store.records import Outcome, from_json
from hia.io.files import ASIDE
from orchestration.preprocess import RayRunner, VideoActor, main
from tests.conftest import REPOSITORY
from tests.data.raw_videos import TINY_CONFIG, small_config, write_dance, write_networks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

SETTINGS = ["width=32", "height=48", "preprocess.least_seconds=0.3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with two videos, one without keypoints, and networks, in it."""
    place = tmp_path_factory.mktemp("driver")
    (place / "videos").mkdir()
    for number in range(2):
        write_dance(place / f"videos/dance {number}.mp4", num_frames=12, seed=number, sidecar=number == 0)
    write_networks(place / "networks")
    return place


def command(*arguments: str) -> list[str]:
    changes = [f"--preset={TINY_CONFIG}", *(f"--set={setting}" for setting in SETTINGS)]
    networks = [f"--set=preprocess.pose.{role}=networks/{role}.onnx" for role in ("detector", "pose", "feet")]
    return [sys.executable, "-m", "orchestration.preprocess", "videos", "--quiet", *changes, *networks, *arguments]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        command(*arguments), cwd=folder, env=environment, text=True, preexec_fn=interruptible, **pipes
    )


def interruptible() -> None:
    """Heed Ctrl-C, which processes ignore that are started in the background, as tests may be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_relative_paths_are_those_of_the_driver(folder, cluster):
    """Of the videos, the store and the networks."""
    with start(folder, f"--address={cluster}", "--output=store") as run:
        said, complaints = run.communicate()
    assert run.returncode == 0, complaints
    assert "2 videos, 0 of them done before" in said.splitlines()
    assert len(open_store(folder / "store").clips) == 2
    # Not ours: Ray's line about its log level, and its lines about other drivers' actors that died.
    foreign = ("RAY_BACKEND_LOG_LEVEL", "(raylet)")
    assert [line for line in complaints.splitlines() if not any(part in line for part in foreign)] == []


def outcomes_with_face_embeddings(folder: Path, store: Path) -> list[Outcome]:
    worker = PreprocessorFactory(small_config("face_embedder=mobilefacenet"), str(store))
    return list(RayRunner(1)(worker, [Job(VideoSource("dance 0.mp4", str(folder / "videos/dance 0.mp4")), "key")]))


def test_weights_that_a_machine_lacks_end_the_run_with_what_to_do(folder, cluster, tmp_path, monkeypatch):
    monkeypatch.delenv("HIA_WEIGHTS", raising=False)
    with pytest.raises(ValueError, match=r"a worker cannot start on machine .*weights not found: mobilefacenet"):
        outcomes_with_face_embeddings(folder, tmp_path / "store")


def test_workers_look_for_weights_where_the_driver_does(folder, cluster, tmp_path, monkeypatch):
    """The file that is found there is not one of weights: the message names it."""
    (tmp_path / "mobilefacenet.pt").write_bytes(b"no weights")
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=rf"a worker cannot start on machine .*{tmp_path}/mobilefacenet.pt"):
        outcomes_with_face_embeddings(folder, tmp_path / "store")


def test_pose_networks_that_a_machine_lacks_are_not_taken_for_faults_of_the_videos(folder, tmp_path):
    worker = PreprocessorFactory(
        small_config("preprocess.pose.detector=nowhere.onnx"), str(tmp_path / "store"), threads=1
    )
    video = VideoSource("dance 1.mp4", str(folder / "videos/dance 1.mp4"))
    answer = VideoActor(worker, [Job(video, "key")], str(folder))({"job": 0})
    assert answer["trouble"].startswith("weights not found: nowhere.onnx") and not (tmp_path / "store").exists()


def test_a_store_that_lies_in_one_process_is_refused(folder, cluster):
    with pytest.raises(ValueError, match="memory://store: workers are processes of their own"):
        build_store([str(folder / "videos/dance 0.mp4")], "memory://store", small_config(), RayRunner(1))


def test_what_a_killed_worker_was_writing_does_not_stay(folder, tmp_path):
    def killed_once(worker: PreprocessorFactory, jobs):
        Path(worker.store, "clips/00").mkdir(parents=True)
        Path(worker.store, "clips/00", f"{ASIDE}0").touch()
        return run_in_process(worker, jobs)

    build_store([str(folder / "videos/dance 0.mp4")], str(tmp_path / "store"), small_config(), killed_once)
    assert list(tmp_path.rglob(f"{ASIDE}*")) == []


def test_results_that_do_not_arrive_in_the_store_are_an_error(folder, tmp_path, monkeypatch):
    """The machines share no folder of this name."""
    monkeypatch.setattr("hia.data.preprocess.build_store.PATIENCE", 0)

    def elsewhere(worker: PreprocessorFactory, jobs):
        actor = VideoActor(PreprocessorFactory(worker.config, str(tmp_path / "other"), threads=1), jobs, str(folder))
        yield from (from_json(Outcome, actor({"job": index})["outcome"], "it") for index in range(len(jobs)))

    with pytest.raises(OSError, match="workers have finished 1 videos, but what they wrote is not here"):
        build_store([str(folder / "videos/dance 0.mp4")], str(tmp_path / "store"), small_config(), elsewhere)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_process_behind(folder, tmp_path, stop):
    """Not even of the cluster that it has started itself."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "networks").symlink_to(folder / "networks")
    for number in range(4):
        write_dance(tmp_path / f"videos/dance {number}.mp4", num_frames=300, seed=number, sidecar=False)
    with start(tmp_path, "--address=local", "--output=store") as run:
        while not list(tmp_path.glob("store/work/*/attempt-*")) and run.poll() is None:
            time.sleep(0.05)
        family = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(stop)
        complaints = run.communicate()[1]
    assert run.returncode == 130
    assert complaints.splitlines()[-1] == "preprocess: interrupted; run it again to go on"
    assert len(family) > 4 and "Traceback" not in complaints
    assert psutil.wait_procs(family, timeout=300)[1] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers=0"], "--workers must be at least 1, not 0"),
        (["--cpus-per-worker=-1"], "--cpus-per-worker must be at least 0, not -1"),
        (["--gpus-per-worker=nan"], "--gpus-per-worker must be at least 0, not nan"),
        (["--device=cuda"], "--device cuda needs --gpus-per-worker"),
        (["--output="], "--output must name the folder"),
    ],
)
def test_options_that_cannot_be_are_refused_before_ray_starts(folder, tmp_path, capsys, options, said):
    assert main([str(folder / "videos"), f"--output={tmp_path}/store", *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
