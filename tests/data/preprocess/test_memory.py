"""Preprocessing needs no more memory for a long video, or for many, than for a short one."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from hia.video import write_video
from tests.conftest import REPOSITORY
from tests.data.raw_videos import background, centres, frames_of, write_networks

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20

# One frame decoded is 96·128·3 bytes, so half a minute is 32 MiB and three are 190 MiB; JPEGs and latents come on top.
SHORT, LONG = 900, 5400
ROOM = 60 * MEBIBYTE

PROGRAM = """
import resource, sys
from hia.data.preprocess.build_store import build_store
from tests.data.raw_videos import small_config
built = build_store([sys.argv[1]], sys.argv[2], small_config(*sys.argv[3:]), threads=1)
print(built.store.statistics["frames"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak_memory(videos: Path, store: Path, overrides: list[str], frames: int) -> int:
    """Peak memory of a process that preprocesses these videos, in bytes."""
    command = [sys.executable, "-c", PROGRAM, str(videos), str(store), *overrides]
    # Fixed arenas: else the allocator's own fragmentation grows with the number of threads' allocations.
    environment = os.environ | {"MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    found, peak = map(int, done.stdout.split())
    assert found == frames
    return peak


def write_long(path: Path, frames: int) -> None:
    """A video that repeats its first half minute."""
    path.parent.mkdir()
    beginning = frames_of(centres(SHORT), background())
    write_video(path, (frame for _ in range(frames // SHORT) for frame in beginning), 30)


def test_three_minutes_need_no_more_memory_than_half_a_minute(tmp_path):
    overrides = write_networks(tmp_path / "networks")
    peaks = []
    for frames in (SHORT, LONG):
        write_long(tmp_path / f"long{frames}" / "video.mp4", frames)
        peaks.append(peak_memory(tmp_path / f"long{frames}", tmp_path / f"store{frames}", overrides, frames))
    assert peaks[1] - peaks[0] < ROOM


def test_many_videos_need_no_more_memory_than_few(tmp_path):
    overrides = write_networks(tmp_path / "networks")
    peaks = []
    for count in (2, 12):
        folder = tmp_path / f"videos{count}"
        folder.mkdir()
        for number in range(count):
            frames = frames_of(centres(300, seed=number), background(number))
            write_video(folder / f"{number}.mp4", islice(frames, 300), 30)
        peaks.append(peak_memory(folder, tmp_path / f"store{count}", overrides, 300 * count))
    assert peaks[1] - peaks[0] < ROOM
