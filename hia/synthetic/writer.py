"""Writing of dancers: ordinary videos with keypoint files beside them."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hia.io.files import write_bytes
from hia.pose.keypoint_files import save_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.synthetic.casting import cast_dancer
from hia.synthetic.render import render
from hia.video import VideoWriter

# Share of the time between two frames during which each is exposed: that of a camera with a shutter of 216°.
SHUTTER = 0.6
SMALLEST_SIDE, LARGEST_SIDE = 32, 2048
# The file with the settings of a folder's dancers. The version is raised when the same seed gives other dancers.
SETTINGS_FILE, VERSION = ".dancers.json", 1


@dataclass(frozen=True)
class DancerSettings:
    """The settings that decide a dancer's files, with its number. Raises ValueError for values out of range."""

    seconds: float
    width: int
    height: int
    fps: float
    seed: int
    shutter: float
    version: int = VERSION

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if not SMALLEST_SIDE <= side <= LARGEST_SIDE or side % 2:
                raise ValueError(f"{name} must be even, in {SMALLEST_SIDE}..{LARGEST_SIDE} pixels, not {side}")
        if not 1 <= self.fps <= 240:
            raise ValueError(f"fps must lie in 1..240, not {self.fps}")
        if not 1 / self.fps <= self.seconds <= 3600:
            raise ValueError(f"seconds must give 1 frame to 1 hour at {self.fps} fps, not {self.seconds}")
        if not 0 <= self.shutter <= 1:
            raise ValueError(f"shutter must lie in 0..1 of the time between two frames, not {self.shutter}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")

    @property
    def times(self) -> np.ndarray:
        """Times of the frames in seconds."""
        return np.arange(round(self.seconds * self.fps)) / self.fps


def write_dancers(
    folder: str | Path,
    count: int,
    *,
    seconds: float,
    width: int,
    height: int,
    fps: float = 30,
    seed: int,
    shutter: float = SHUTTER,
    workers: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Write videos of generated dancers, `dancer_000.mp4` …, with exact keypoints in `dancer_000.npz` … beside them.

    Every dancer follows from (seed, its number) and the settings: the same bytes each time, whatever `count` and
    `workers` (threads; default: one per processor) are. Dancers that the folder already holds, complete and of the same
    settings, are kept. shutter: the share of the time between two frames during which each is exposed; 0 leaves motion
    sharp. Scores: see `hia.synthetic.keypoints.keypoint_scores`.
    Returns the videos. Raises ValueError for settings out of range, and for a folder with dancers of other settings.
    """
    settings = DancerSettings(seconds, width, height, fps, seed, shutter)
    for name, number in (("count", count), ("workers", workers)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, not {number}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _note_settings(folder, settings)
    videos = [folder / f"dancer_{number:03d}.mp4" for number in range(count)]
    _write_missing(videos, settings, workers or os.cpu_count() or 1, progress)
    return videos


def _write_missing(videos: Sequence[Path], settings: DancerSettings, workers: int, progress: bool) -> None:
    """Write the dancers that are not there or not complete, each by its number in the list."""
    frames = len(settings.times)
    with tqdm(total=len(videos) * frames, desc="dancers", unit="frame", disable=not progress) as bar:
        for number, video in enumerate(videos):
            if video.is_file() and video.with_suffix(".npz").is_file():
                bar.update(frames)
            else:
                _write_dancer(video, number, settings, workers, bar)


def _write_dancer(video: Path, number: int, settings: DancerSettings, workers: int, bar: tqdm) -> None:
    """Write one video and then its keypoint file, whose presence means that the pair is complete."""
    generator = np.random.default_rng([settings.seed, number])
    dancer = cast_dancer(generator, settings.width, settings.height, settings.times)
    keypoints, scores = [], []
    with VideoWriter(video, settings.fps) as writer:
        for rendered in render(dancer, settings.times, settings.shutter / settings.fps, workers):
            writer.write(rendered.frame)
            keypoints.append(rendered.keypoints)
            scores.append(rendered.scores)
            bar.update()
    sequence = KeypointSequence(
        np.array(keypoints), np.array(scores), settings.width, settings.height, float(settings.fps)
    )
    save_keypoints(sequence, video.with_suffix(".npz"))


def _note_settings(folder: Path, settings: DancerSettings) -> None:
    """Write the settings into the folder. Raises ValueError if it holds dancers of other settings."""
    note, wanted = folder / SETTINGS_FILE, asdict(settings)
    if any(folder.glob("dancer_*")):
        found = _read_note(note)
        if found != wanted:
            differing = [key for key in wanted if found.get(key) != wanted[key]] or ["unknown"]
            said = ", ".join(f"{key} {found.get(key, 'unknown')} instead of {wanted.get(key)}" for key in differing)
            raise ValueError(f"{folder} holds dancers of other settings ({said}): choose another folder or delete them")
        return
    write_bytes(note, json.dumps(wanted, indent=1).encode())


def _read_note(note: Path) -> dict[str, object]:
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
