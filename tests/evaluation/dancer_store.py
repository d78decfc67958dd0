"""A small clip store of generated dancers, which needs no files from elsewhere."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from hia.pose.keypoint_files import load_keypoints
from hia.synthetic import write_dancers
from hia.video import read_frames
from tests.data.tiny_store import HEIGHT, WIDTH, TinyClip, write_store


def dancer_store(
    folder: Path, held_out: int = 2, trained_on: int = 2, num_frames: int = 12, lengths: dict[int, int] | None = None
) -> Path:
    """Write a store of dancers at 64×112 px, those of the train split first; returns its folder.

    lengths: frames of single clips, by number, where they are to be fewer.
    """
    with tempfile.TemporaryDirectory() as name:
        count = trained_on + held_out
        videos = write_dancers(name, count, seconds=num_frames / 30, width=WIDTH, height=HEIGHT, fps=30, seed=0)
        clips = [
            _clip(video, "train" if number < trained_on else "test", (lengths or {}).get(number, num_frames))
            for number, video in enumerate(videos)
        ]
        return write_store(folder, clips)


def _clip(video: Path, split: str, num_frames: int) -> TinyClip:
    whole = load_keypoints(video.with_suffix(".npz"))
    keypoints = replace(whole, keypoints=whole.keypoints[:num_frames], scores=whole.scores[:num_frames])
    return TinyClip(video.name, keypoints, np.stack(list(read_frames(video)))[:num_frames], split)  # type: ignore
