"""Preprocessing on Ray Data: the same store as in one process, whatever is killed and when."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ray

from hia.data.building import build_store
from hia.data.records import Rejection
from orchestration.preprocess import RayRunner
from tests.data.raw_videos import small_config, write_dance, write_networks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

REPOSITORY = Path(__file__).parents[2]

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


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster on this machine; ends with the tests."""
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": str(REPOSITORY)}
    os.environ.update(environment)
    context = ray.init(
        address="local", num_cpus=4, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False
    )
    yield context.address_info["address"]
    ray.shutdown()


def files(store: Path) -> dict[str, bytes]:
    """All that is in a store, by name."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def progress(store: Path) -> int:
    """How many files the store has: a clock that runs with the work."""
    return sum(len(names) for _, _, names in os.walk(store))


def wait_for(store: Path, moment: int, is_over: Callable[[], bool]) -> bool:
    """Wait until the store has so many files, or the work is over. Returns whether it is not."""
    while progress(store) < moment and not is_over():
        time.sleep(0.002)
    return not is_over()


def rejections(content: bytes) -> list[Rejection]:
    return [Rejection(**json.loads(line)) for line in content.splitlines()]


def test_the_store_is_that_of_one_process_whatever_the_number_of_workers(
    videos, overrides, undisturbed, cluster, tmp_path
):
    for workers in (1, 3):
        store = tmp_path / f"store{workers}"
        build_store([str(videos)], str(store), small_config(*overrides), RayRunner(workers), threads=1)
        assert files(store) == undisturbed


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_driver_costs_nothing_but_what_was_being_made(videos, overrides, undisturbed, cluster, tmp_path, seed):
    """SIGKILL when the store has some seeded number of files; half of the drivers work on Ray, half by themselves."""
    store = tmp_path / "store"
    options = [str(videos), "--output", str(store), "--quiet", "--threads=1"]
    for setting in ("width=32", "height=48", "preprocess.latents=true", *overrides):
        options += ["--set", setting]
    module = (
        ["orchestration.preprocess", f"--address={cluster}", "--workers=2"] if seed % 2 else ["hia.cli", "preprocess"]
    )
    command = [sys.executable, "-m", *module, *options]
    driver = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    was_running = wait_for(store, random.Random(seed).randrange(3, 60), lambda: driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert was_running, "the moment came too late"
    settled(store)
    again = build_store([str(videos)], str(store), small_config(*overrides), threads=1)
    assert files(store) == undisturbed
    assert again.num_videos == 6


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_actor_is_replaced_and_its_video_done_again(videos, overrides, undisturbed, cluster, tmp_path, seed):
    """SIGKILL of one of two actors when the store has some seeded number of files."""
    store, moment = tmp_path / "store", random.Random(100 + seed).randrange(3, 60)
    killer = Killer(store, moment)
    build_store([str(videos)], str(store), small_config(*overrides), killer.watch(RayRunner(2)), threads=1)
    assert killer.killed, "the moment came too late"
    assert files(store) == undisturbed


def settled(store: Path) -> None:
    """Wait until the actors of a driver that died are gone too: the store no longer changes."""
    seen, since = progress(store), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.05)
        if progress(store) != seen:
            seen, since = progress(store), time.monotonic()


class Killer:
    """Kills an actor process of this driver when the store has a number of files."""

    def __init__(self, store: Path, moment: int) -> None:
        self.store, self.moment, self.killed = store, moment, False

    def watch(self, runner: RayRunner) -> Callable:
        import threading

        def run(worker, jobs):
            thread = threading.Thread(target=self._kill, daemon=True)
            thread.start()
            yield from runner(worker, jobs)
            thread.join()

        return run

    def _kill(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            actors = self._actors()
            if actors and progress(self.store) >= self.moment:
                random.Random(self.moment).choice(actors).kill()
                self.killed = True
                return
            time.sleep(0.002)

    def _actors(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any("MapWorker" in part or "VideoActor" in part for part in process.info["cmdline"] or []):
                found.append(process)
        return sorted(found, key=lambda process: process.pid)
