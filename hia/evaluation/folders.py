"""Two folders of videos, generated and true, matched by name: nothing is left over on either side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hia.data.sources import SUFFIXES
from hia.evaluation.scores import VideoPair
from hia.images import Frame
from hia.pose.keypoints import KeypointSequence
from hia.pose.sidecar import load_keypoints
from hia.video import natural_key, read_frames
from hia.video.folders import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Match:
    """A generated and a true video of one name: files, or folders of images."""

    name: str
    generated: Path
    real: Path


def match_videos(generated: str | Path, real: str | Path) -> list[Match]:
    """Videos of two folders by name without suffix, in natural order.

    A folder holds video files, or folders of .png and .jpg images; or it is itself one such video. Raises
    FileNotFoundError for a folder that is not there, and ValueError when names are missing on a side, or double.
    """
    made, true = Path(generated), Path(real)
    videos, true_videos = _videos(made), _videos(true)
    if videos.keys() == true_videos.keys() == {""}:
        return [Match(made.name, made, true)]
    lacking = {
        made: [name or "one video of images" for name in true_videos.keys() - videos.keys()],
        true: [name or "one video of images" for name in videos.keys() - true_videos.keys()],
    }
    told = [f"{folder} lacks {_some(names)}" for folder, names in lacking.items() if names]
    if told:
        raise ValueError(
            f"{'; '.join(told)}. Both must hold the same videos, by name without suffix; they hold {len(videos)} and "
            f"{len(true_videos)}"
        )
    return [Match(name, videos[name], true_videos[name]) for name in sorted(videos, key=natural_key)]


def read_pair(match: Match, keypoints: KeypointSequence | None = None) -> VideoPair:
    """Both videos, decoded. keypoints: of the true one; by default those of the .npz file beside it, if there is one.

    Raises VideoError, naming the file, when one is broken, and ValueError when they differ in length or size.
    """
    generated, real = _frames(match.generated), _frames(match.real)
    sidecar = match.real.with_name(f"{match.name}.npz")
    if keypoints is None and sidecar.is_file():
        keypoints = load_keypoints(sidecar)
    if keypoints is not None:
        keypoints = _in_size(keypoints, real.shape[2], real.shape[1])
    return VideoPair(match.name, generated, real, keypoints)


def _videos(folder: Path) -> dict[str, Path]:
    """Videos by name; the folder itself, under no name, when it holds images."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    videos = [entry for entry in entries if entry.is_dir() or entry.suffix.lower() in SUFFIXES]
    images = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES]
    if images and videos:
        raise ValueError(
            f"{folder} holds images ({images[0].name}, …) and videos ({videos[0].name}, …): is it one video or many?"
        )
    if images:
        return {"": folder}
    if not videos:
        raise ValueError(f"{folder} holds no videos: neither {', '.join(sorted(SUFFIXES))} files nor folders of images")
    names = {entry: entry.name if entry.is_dir() else entry.stem for entry in videos}
    found = {name: entry for entry, name in names.items()}
    for entry, name in names.items():
        if found[name] != entry:
            raise ValueError(f"{folder}: {entry.name} and {found[name].name} are two videos of one name")
    return found


def _frames(path: Path) -> Frame:
    return np.stack(list(read_frames(path)))


def _in_size(keypoints: KeypointSequence, width: int, height: int) -> KeypointSequence:
    """Keypoints of a video that was scaled as a whole; of other aspect ratios they stay, and are refused."""
    if keypoints.width * height != keypoints.height * width:
        return keypoints
    return keypoints.resized(width, height)


def _some(names: list[str], limit: int = 5) -> str:
    ordered = sorted(names, key=natural_key)
    return ", ".join(ordered[:limit]) + (f" and {len(ordered) - limit} more" if ordered[limit:] else "")
