"""Comparison of two folders of videos, generated and true, matched by name without a remainder on either side."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hia.data.ingest.videos import SUFFIXES
from hia.evaluation.metrics import Metrics
from hia.evaluation.protocol.cache import cached_directory, is_cached, load_scores, save_scores, settings_digest
from hia.evaluation.protocol.clips import CLIPS, MOMENTS, RESULT, SCORES, VIDEO, VideoFiles
from hia.evaluation.protocol.results import FOLDERS
from hia.evaluation.scores import VideoPair
from hia.images import Frame, write_png
from hia.io.files import remove_aside
from hia.io.hashing import content_sha256, key_digest
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import natural_key, probe, read_frames, write_video
from hia.video.image_folder import IMAGE_SUFFIXES
from hia.visualization.comparison import even, panel_row, shown_moments
from hia.visualization.html import identifier

LONGEST_NAME = 60


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
    problems = [f"{folder} lacks {_some(names)}" for folder, names in lacking.items() if names]
    if problems:
        raise ValueError(
            f"{'; '.join(problems)}. Both must hold the same videos, by name without suffix; they hold {len(videos)} "
            f"and {len(true_videos)}"
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


def score_match(match: Match, metrics: Metrics, folder: str | Path) -> VideoFiles:
    """Score a generated video against the true one and write both side by side, unless `folder` holds the result.

    Raises what `read_pair` and `Metrics.score` do.
    """
    place = Path(folder) / CLIPS / _folder_name(match.name)
    sidecar = match.real.with_name(f"{match.name}.npz")
    contents = [content_sha256(path) for path in (match.generated, match.real, sidecar) if path.exists()]
    result_mark = key_digest(match.name, contents)
    scores_mark = key_digest(result_mark, settings_digest(metrics))
    if load_scores(place / SCORES, scores_mark) is None or not is_cached(place / RESULT, result_mark):
        pair = read_pair(match)
        scores = metrics.score(pair)
        place.mkdir(parents=True, exist_ok=True)
        remove_aside(place)
        with cached_directory(place / RESULT, result_mark, {"video": match.name}) as new:
            _write_pictures(new, pair, probe(match.real).fps)
        save_scores(place / SCORES, scores, scores_mark)
    relative = place.relative_to(folder).as_posix()
    return VideoFiles(
        name=match.name,
        video=match.generated.name,
        scores={FOLDERS: f"{relative}/{SCORES}"},
        videos={FOLDERS: f"{relative}/{RESULT}/{VIDEO}"},
        pictures={FOLDERS: f"{relative}/{RESULT}/{MOMENTS}"},
    )


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
    by_name = {name: entry for entry, name in names.items()}
    for entry, name in names.items():
        if by_name[name] != entry:
            raise ValueError(f"{folder}: {entry.name} and {by_name[name].name} are two videos of one name")
    return by_name


def _frames(path: Path) -> Frame:
    return np.stack(list(read_frames(path)))


def _in_size(keypoints: KeypointSequence, width: int, height: int) -> KeypointSequence:
    """Keypoints in pixels of the scaled video; those of another aspect ratio stay as they are and are refused later."""
    if keypoints.width * height != keypoints.height * width:
        return keypoints
    return keypoints.resized(width, height)


def _some(names: list[str], limit: int = 5) -> str:
    ordered = sorted(names, key=natural_key)
    return ", ".join(ordered[:limit]) + (f" and {len(ordered) - limit} more" if ordered[limit:] else "")


def _write_pictures(folder: Path, pair: VideoPair, fps: float) -> None:
    write_video(folder / VIDEO, _rows(pair), fps)
    moments = [_row(pair, index) for index in shown_moments(len(pair))]
    write_png(folder / MOMENTS, np.concatenate(moments, axis=1))


def _rows(pair: VideoPair) -> Iterator[Frame]:
    return (even(_row(pair, index)) for index in range(len(pair)))


def _row(pair: VideoPair, index: int) -> Frame:
    return panel_row({"generated": pair.generated[index], "truth": pair.real[index]})


def _folder_name(name: str) -> str:
    """The name of a video's folder, different for any two videos."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{identifier(name)[:LONGEST_NAME]}-{mark}"
