"""Two folders of videos, compared one by one; what is done is kept, so that a stopped comparison goes on."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hia.data.fingerprint import content_sha256
from hia.evaluation.clips import CLIPS, MOMENTS, RESULT, SCORES, VIDEO, VideoFiles, write_png
from hia.evaluation.folders import Match, read_pair
from hia.evaluation.keeping import digest, is_kept, load_scores, made_whole, mark_of, remove_left_aside, save_scores
from hia.evaluation.metrics import Metrics
from hia.evaluation.pictures import even, panel_row, shown_moments
from hia.evaluation.results import FOLDERS
from hia.evaluation.scores import VideoPair
from hia.images import Frame
from hia.inspection.html import identifier
from hia.video import probe, write_video

LONGEST_NAME = 60


def score_match(match: Match, metrics: Metrics, folder: str | Path) -> VideoFiles:
    """Measure a generated video against the true one and write both beside each other, unless `folder` has all that.

    Raises what `read_pair` and `Metrics.score` do.
    """
    place = Path(folder) / CLIPS / _folder_name(match.name)
    sidecar = match.real.with_name(f"{match.name}.npz")
    contents = [content_sha256(path) for path in (match.generated, match.real, sidecar) if path.exists()]
    result_mark = digest(match.name, contents)
    scores_mark = digest(result_mark, mark_of(metrics))
    if load_scores(place / SCORES, scores_mark) is None or not is_kept(place / RESULT, result_mark):
        pair = read_pair(match)
        scores = metrics.score(pair)
        place.mkdir(parents=True, exist_ok=True)
        remove_left_aside(place)
        with made_whole(place / RESULT, result_mark, {"video": match.name}) as new:
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


def _write_pictures(folder: Path, pair: VideoPair, fps: float) -> None:
    write_video(folder / VIDEO, _rows(pair), fps)
    moments = [_row(pair, index) for index in shown_moments(len(pair))]
    write_png(folder / MOMENTS, np.concatenate(moments, axis=1))


def _rows(pair: VideoPair) -> Iterator[Frame]:
    return (even(_row(pair, index)) for index in range(len(pair)))


def _row(pair: VideoPair, index: int) -> Frame:
    return panel_row({"generated": pair.generated[index], "truth": pair.real[index]})


def _folder_name(name: str) -> str:
    """A folder's name for any video's: two different ones never share it."""
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{identifier(name)[:LONGEST_NAME]}-{mark}"
