"""Results of an evaluation: gathered from the files of its videos, written as JSON and CSV."""

import csv
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hia.evaluation.aggregate import Aggregate, Resampling, Summary, summarise
from hia.evaluation.frechet import FewSamples
from hia.evaluation.protocol.cache import load_scores
from hia.evaluation.protocol.clips import BASELINE, CAP, OURS, VideoFiles
from hia.evaluation.scores import VideoScores
from hia.io.files import Folder

RESULTS, TABLE = "results.json", "videos.csv"
FORMAT_VERSION = 1
USUAL = Resampling()
FOLDERS = "generated"
"""The only method when folders are compared."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        FOLDERS: "generated",
        OURS["truth"]: "model, true sharpness",
        OURS["default"]: "model, default sharpness",
        BASELINE: "repeating the reference",
        CAP: "codec alone",
    }
)
"""Names of methods for people."""

EXPLAINED: Mapping[str, str] = MappingProxyType(
    {
        FOLDERS: "the videos of the first folder",
        OURS["truth"]: "animated with the hands' sharpness measured in the true video: the paper's protocol",
        OURS["default"]: "animated with the model's default sharpness, as for a motion whose pictures nobody has",
        BASELINE: "the first frame, repeated: an animation must be better than this",
        CAP: "the true frames through the codec and back: what the codec alone loses",
    }
)


@dataclass(frozen=True)
class Video:
    """One video's figures, without features. name: unique; video: the name that people see; files: in the folder."""

    name: str
    video: str
    scores: Mapping[str, VideoScores]
    files: VideoFiles


@dataclass(frozen=True)
class Results:
    """An evaluation. summaries: by method. set_aside: `name`, `video` and `reason` of clips without result.

    measured: as `Metrics.provenance` gives it. about: a record of what was compared, in plain values.
    """

    summaries: Mapping[str, Summary]
    videos: Sequence[Video]
    set_aside: Sequence[Mapping[str, str]]
    measured: Mapping[str, Any]
    about: Mapping[str, Any]
    resampling: Resampling = USUAL

    @property
    def methods(self) -> list[str]:
        """Names of the methods, the model's own first."""
        return list(self.summaries)


def gather(
    folder: str | Path,
    files: Sequence[VideoFiles],
    set_aside: Sequence[Mapping[str, str]],
    measured: Mapping[str, Any],
    about: Mapping[str, Any],
    resampling: Resampling = USUAL,
) -> Results:
    """Read the scores of all videos and summarise them, one method after the other, because features need much memory.

    Raises ValueError for no videos, and OSError for a file of scores that cannot be read.
    """
    if not files:
        raise ValueError("there are no videos to summarise")
    summaries: dict[str, Summary] = {}
    light: dict[str, dict[str, VideoScores]] = {one.name: {} for one in files}
    for method in files[0].scores:
        scores = [_scores(Path(folder) / one.scores[method]) for one in files]
        with warnings.catch_warnings():
            # Every file marks such distances by `rank_deficient`.
            warnings.simplefilter("ignore", FewSamples)
            summaries[method] = summarise(scores, resampling)
        for one, score in zip(files, scores, strict=True):
            light[one.name][method] = replace(score, features={})
    videos = [Video(one.name, one.video, light[one.name], one) for one in files]
    return Results(summaries, videos, set_aside, measured, about, resampling)


def as_plain(results: Results) -> dict[str, Any]:
    """The results as plain values for JSON."""
    return {
        "format": FORMAT_VERSION,
        "about": dict(results.about),
        "methods": {
            method: {
                "label": LABELS[method],
                "meaning": EXPLAINED[method],
                "figures": {name: plain_figure(figure) for name, figure in summary.figures.items()},
                "left_out": dict(summary.left_out),
            }
            for method, summary in results.summaries.items()
        },
        "videos": [_plain_video(video) for video in results.videos],
        "set_aside": [dict(one) for one in results.set_aside],
        "measured": dict(results.measured),
        "resampling": asdict(results.resampling),
    }


def plain_figure(figure: Aggregate) -> dict[str, Any]:
    """A figure as plain values for JSON, without fields that do not apply to it; NaN and infinity become null."""
    values = {key: value for key, value in asdict(figure).items() if value is not None}
    if figure.dimension is None:
        del values["rank_deficient"]
    return {key: _finite(value) for key, value in values.items()}


def table(results: Results) -> str:
    """CSV with a line for every video and method; a figure that a video lacks is empty."""
    names = figure_names(results)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", "video", "method", "frames", *names], lineterminator="\n")
    writer.writeheader()
    for video in results.videos:
        for method, scores in video.scores.items():
            facts = {"name": video.name, "video": video.video, "method": method, "frames": scores.num_frames}
            writer.writerow(facts | scores.flat())
    return text.getvalue()


def figure_names(results: Results) -> list[str]:
    """Names of all figures that single videos have."""
    scores = (scores for video in results.videos for scores in video.scores.values())
    return list(dict.fromkeys(name for one in scores for name in one.figures))


def write_results(folder: str | Path, results: Results) -> None:
    """Write `results.json` and `videos.csv`. Raises OSError when that cannot be done."""
    files = Folder(folder)
    plain = json.dumps(as_plain(results), indent=1, ensure_ascii=False, allow_nan=False)
    files.write(RESULTS, plain.encode("utf-8", "replace"))
    files.write(TABLE, table(results).encode("utf-8", "replace"))


def _scores(path: Path) -> VideoScores:
    scores = load_scores(path)
    if scores is None:
        raise OSError(f"{path}: the scores cannot be read; remove the file, and the video is measured again")
    return scores


def _plain_video(video: Video) -> dict[str, Any]:
    methods = {
        method: {
            "figures": {name: _finite(value) for name, value in scores.flat().items()},
            "left_out": dict(scores.left_out),
        }
        for method, scores in video.scores.items()
    }
    frames = next(iter(video.scores.values())).num_frames
    return {"name": video.name, "video": video.video, "frames": frames, "methods": methods} | {
        "side_by_side": dict(video.files.videos)
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
