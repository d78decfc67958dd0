"""Sample pictures and motions of the page: generated dancers, and the files of a folder."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hia.animation.inference import UNTRAINED_SHARPNESS
from hia.conditions.driving import driving_signal
from hia.images import Frame
from hia.pose.keypoint_files import load_keypoints
from hia.serving.client import VIDEOS
from hia.synthetic import write_dancers
from hia.video import natural_key, read_frames
from hia.visualization.skeleton import skeleton_picture

NUM_DANCERS, SECONDS, FPS, WIDTH, HEIGHT, SEED = 2, 2.0, 15.0, 256, 448, 4
KEYPOINTS, PICTURES = ".npz", (".png", ".jpg", ".jpeg", ".webp")
THUMBNAIL_HEIGHT = 240


@dataclass(frozen=True)
class Motion:
    """A driving motion. file: keypoints or video; thumbnail: a picture file of it."""

    name: str
    file: Path
    thumbnail: Path


@dataclass(frozen=True)
class Samples:
    """Pictures and motions, all files in one folder."""

    pictures: list[Path]
    motions: list[Motion]


def make_samples(folder: Path, source: Path | None = None) -> Samples:
    """Draw dancers into `folder`, and copy pictures, keypoint files and videos (.mp4, .webm) from `source` there.

    A video with its keypoint file beside it needs no pose networks, because its keypoints are used. Files that cannot
    be read are named on stderr and left out.
    """
    dancers = folder / "dancers"
    videos = write_dancers(dancers, NUM_DANCERS, seconds=SECONDS, width=WIDTH, height=HEIGHT, fps=FPS, seed=SEED)
    pictures = [_save_picture(next(read_frames(video)), folder / f"{video.stem}.png") for video in videos]
    if source is None:
        return Samples(pictures, list(_motions(dancers, folder)))
    own = [file for file in _files(source) if file.suffix.lower() in PICTURES]
    pictures += [Path(shutil.copy2(file, folder / f"sample_{file.name}")) for file in own]
    return Samples(pictures, [*_motions(dancers, folder), *_motions(source, folder)])


def _motions(source: Path, folder: Path) -> Iterator[Motion]:
    """Copy the motions of `source`: for each name a keypoint file, or else a video."""
    videos = {file.stem: file for file in _files(source) if file.suffix.lower() in VIDEOS}
    keypoints = {file.stem: file for file in _files(source) if file.suffix.lower() == KEYPOINTS}
    for name, file in sorted((videos | keypoints).items(), key=lambda item: natural_key(item[0])):
        try:
            picture = next(read_frames(videos[name])) if name in videos else _first_skeleton(file)
            thumbnail = _save_picture(picture, folder / f"motion_{name}.png")
        except (ValueError, OSError) as error:
            print(f"sample left out: {error}", file=sys.stderr)
            continue
        yield Motion(name.replace("_", " "), Path(shutil.copy2(file, folder / file.name)), thumbnail)


def _files(folder: Path) -> list[Path]:
    return sorted((file for file in folder.iterdir() if file.is_file()), key=lambda file: natural_key(file.name))


def _first_skeleton(file: Path) -> Frame:
    keypoints = load_keypoints(file)
    width, height = round(THUMBNAIL_HEIGHT * keypoints.width / keypoints.height), THUMBNAIL_HEIGHT
    return skeleton_picture(driving_signal(keypoints, width, height, UNTRAINED_SHARPNESS).control_image(0))


def _save_picture(picture: Frame, file: Path) -> Path:
    Image.fromarray(picture).save(file)
    return file
