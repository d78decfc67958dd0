"""Preprocessing on Ray Data: the same store as in one process, whatever is killed and when."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hia.data.preprocess.build_store import build_store
from orchestration.preprocess import RayRunner
from tests.conftest import REPOSITORY
from tests.data.raw_videos import TINY_CONFIG, small_config, write_dance, write_networks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


# Several clips from each video, latents, estimated keypoints: something to lose at any moment.
SETTINGS = ["preprocess.longest_seconds=1.2", "preprocess.least_seconds=0.5"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Six videos with and without keypoints beside them, one of them damaged."""
    folder = tmp_path_factory.mktemp("raw") / "videos"
    folder.mkdir()
    for number in range(5):
        write_dance(folder / f"dance {number}.mp4", num_frames=60 + 25 * number, seed=number, sidecar=number == 0)
    (folder / "damaged.mp4").write_bytes((folder / "dance 1.mp4").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def overrides(videos) -> list[str]:
    return [*SETTINGS, *write_networks(videos.parent / "networks")]


@pytest.fixture(scope="module")
def undisturbed(videos, overrides) -> dict[str, bytes]:
    """The files of the store that one process makes."""
    store = videos.parent / "undisturbed"
    built = build_store([str(videos)], str(store), small_config(*overrides), threads=1)
    assert built.store.statistics["clips"] > 12 and built.store.statistics["rejected"] == {"decoding_failed": 1}
    return files(store)


def files(store: Path) -> dict[str, bytes]:
    """All that is in a store, by name."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def progress(store: Path) -> int:
    """The number of files in the store: a clock that runs with the work."""
    return sum(len(names) for _, _, names in os.walk(store))


def test_the_store_is_that_of_one_process_whatever_the_number_of_workers(
    videos, overrides, undisturbed, cluster, tmp_path
):
    for workers in (1, 3):
        store = tmp_path / f"store{workers}"
        build_store([str(videos)], str(store), small_config(*overrides), RayRunner(workers), threads=1)
        assert files(store) == undisturbed


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_run_costs_nothing_but_what_was_being_made(videos, overrides, undisturbed, tmp_path, seed):
    store = tmp_path / "store"
    assert kill_at(moments(undisturbed, 1, seed)[0], store, command("hia.cli preprocess", videos, store, overrides))
    build_store([str(videos)], str(store), small_config(*overrides), threads=1)
    assert files(store) == undisturbed


def test_a_driver_on_a_cluster_may_be_killed_again_and_again(videos, overrides, undisturbed, cluster, tmp_path):
    """SIGKILL of four drivers in a row, each a little further; the fifth ends the work."""
    store = tmp_path / "store"
    options = [f"--address={cluster}", "--workers=2"]
    driver = command("orchestration.preprocess", videos, store, overrides, *options)
    kills = [kill_at(moment, store, driver) for moment in moments(undisturbed, 4, seed=0)]
    assert sum(kills) >= 3
    subprocess.run(driver, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert files(store) == undisturbed


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_actors_are_replaced_and_their_videos_done_again(
    videos, overrides, undisturbed, cluster, tmp_path, seed
):
    """SIGKILL of an actor, five times in one run."""
    store = tmp_path / "store"
    killer = Killer(store, moments(undisturbed, 5, seed))
    build_store([str(videos)], str(store), small_config(*overrides), killer.watch(RayRunner(2)), threads=1)
    assert killer.kills >= 4
    assert files(store) == undisturbed


def moments(undisturbed: dict[str, bytes], count: int, seed: int) -> list[int]:
    """Seeded numbers of files in the store, rising, at which something is killed."""
    return sorted(random.Random(seed).sample(range(2, len(undisturbed) - 4), count))


def command(module: str, videos: Path, store: Path, overrides: list[str], *options: str) -> list[str]:
    """A program that preprocesses; `module` is its name, with a verb if it has any."""
    settings = ["width=32", "height=48", "preprocess.latents=true", *overrides]
    changes = [part for setting in settings for part in ("--set", setting)]
    start = [sys.executable, "-m", *module.split(), str(videos), f"--output={store}", "--threads=1"]
    return [*start, f"--preset={TINY_CONFIG}", *options, *changes]


def kill_at(moment: int, store: Path, arguments: list[str]) -> bool:
    """Start a run and kill it with SIGKILL when the store has so many files. Returns whether it was still running."""
    run = subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while progress(store) < moment and run.poll() is None:
        time.sleep(0.002)
    was_running = run.poll() is None
    run.kill()
    run.wait()
    settled(store)
    return was_running


def settled(store: Path) -> None:
    """Wait until the actors of a driver that died are gone too: the store no longer changes."""
    seen, since = progress(store), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.05)
        if progress(store) != seen:
            seen, since = progress(store), time.monotonic()


class Killer:
    """Kills an actor process whenever the store has reached one of some numbers of files."""

    def __init__(self, store: Path, moments: list[int]) -> None:
        self.store, self.moments, self.kills = store, moments, 0
        self._over = threading.Event()

    def watch(self, runner: RayRunner) -> Callable:
        """The runner, with the killer at work until the last outcome."""

        def run(worker, jobs):
            thread = threading.Thread(target=self._kill)
            thread.start()
            try:
                yield from runner(worker, jobs)
            finally:
                self._over.set()
                thread.join()

        return run

    def _kill(self) -> None:
        for moment in self.moments:
            while progress(self.store) < moment or not self._actors():
                if self._over.wait(0.002):
                    return
            random.Random(moment).choice(self._actors()).kill()
            self.kills += 1

    def _actors(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):  # of this process' cluster, and of no one else's
            with contextlib.suppress(psutil.Error):
                if any("MapWorker" in part or "VideoActor" in part for part in process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)
