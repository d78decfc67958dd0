"""Whole evaluations in one process: a model on a store's clips, or one folder of videos against another."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hia.config import Config
from hia.config.types import Split
from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo
from hia.evaluation.metrics import Metrics
from hia.evaluation.protocol.clips import ReenactmentSettings, VideoFiles, score_clip
from hia.evaluation.protocol.folders import match_videos, score_match
from hia.evaluation.protocol.results import Results, gather, write_results
from hia.evaluation.report import write_report
from hia.io.hashing import content_sha256
from hia.models.animation_model import AnimationModel

KINDS = {
    "test": "self reenactment of clips kept out of training",
    "train": "self reenactment of clips that the model was trained on",
}


@dataclass(frozen=True)
class SkippedVideo:
    """A video that could not be evaluated, and the reason."""

    name: str
    video: str
    reason: str


def evaluate_folders(
    generated: str | Path, real: str | Path, output: str | Path, metrics: Metrics, progress: bool = False
) -> Results:
    """Compare the videos of two folders by name; writes `results.json`, `videos.csv` and `report.html` into `output`.

    A video that cannot be read or compared ends the comparison, so that none is left out silently. Raises ValueError
    and OSError with its name; the scores of earlier videos are kept.
    """
    matches = match_videos(generated, real)
    bar = tqdm(matches, desc="evaluate", unit="video", disable=not progress, dynamic_ncols=True)
    files = [score_match(match, metrics, output) for match in bar]
    about = {
        "kind": "generated videos against true ones",
        "generated": str(generated),
        "real": str(real),
        "means": "over all frames of all videos",
    }
    return _write_all(output, gather(output, files, (), metrics.provenance(), about), "Evaluation of videos")


def evaluate_model(
    model: AnimationModel,
    store: ClipStore,
    clips: Sequence[ClipInfo],
    wanted: ReenactmentSettings,
    metrics: Metrics,
    output: str | Path,
    progress: bool = False,
) -> Results:
    """Animate clips from their first frames and compare with the truth; writes the same files into `output`.

    A clip that cannot be evaluated is set aside with its reason. Raises ValueError when none can be, or none is given.
    """
    if not clips:
        raise ValueError(f"{store.folder}: there are no clips to evaluate")

    def score(info: ClipInfo) -> VideoFiles:
        return score_clip(model, store.read(info), wanted, metrics, output)

    bar = tqdm(clips, desc="evaluate", unit="clip", disable=not progress, dynamic_ncols=True)
    files, set_aside = _scored(score, bar)
    about = reenactment_facts(wanted, model.config, store.fingerprint, clips[0].split)
    results = gather(output, files, [asdict(one) for one in set_aside], metrics.provenance(), about)
    return _write_all(output, results, "Evaluation of a model")


def reenactment_facts(
    wanted: ReenactmentSettings, config: Config, store_fingerprint: str, split: Split
) -> dict[str, Any]:
    """A record of what was compared."""
    return {
        "kind": KINDS[split],
        "split": split,
        "model": wanted.model,
        "store_fingerprint": store_fingerprint,
        "width": config.width,
        "height": config.height,
        "frames": wanted.frames,
        "seed": wanted.seed,
        "sampling": asdict(wanted.sampling or config.sampling),
        "gamma": config.gamma,
        "reference": "frame 0 of each clip",
        "sharpness": list(wanted.protocols),
        "means": "over all frames of all clips",
    }


def model_digest(directory: str | Path) -> str:
    """A digest of a model directory's content."""
    return content_sha256(Path(directory))


def _scored(
    score: Callable[[ClipInfo], VideoFiles], clips: "tqdm[ClipInfo]"
) -> tuple[list[VideoFiles], list[SkippedVideo]]:
    files: list[VideoFiles] = []
    set_aside: list[SkippedVideo] = []
    for info in clips:
        try:
            files.append(score(info))
        except ValueError as error:
            set_aside.append(SkippedVideo(info.id, info.video, str(error)))
            tqdm.write(f"clip {info.id} ({info.video}) is left out: {error}")
    if not files:
        reasons = "\n".join(f"  {one.name} ({one.video}): {one.reason}" for one in set_aside)
        raise ValueError(f"none of {len(set_aside)} clips could be evaluated:\n{reasons}")
    return files, set_aside


def _write_all(output: str | Path, results: Results, title: str) -> Results:
    write_results(output, results)
    write_report(output, results, title)
    return results
