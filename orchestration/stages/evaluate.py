"""The evaluation stage: metrics, videos, a report and a contact sheet of clips that were kept out of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hia.config import Config, EvaluationConfig
from hia.config.evaluation import own_weights
from hia.config.types import Split
from hia.data.store.clip_store import ClipStore, open_store
from hia.data.store.records import ClipInfo
from hia.evaluation.evaluate import reenactment_facts
from hia.evaluation.metrics import Metrics, load_metrics
from hia.evaluation.protocol.clips import BASELINE, CAP, OURS, ReenactmentSettings, VideoFiles, score_clip
from hia.evaluation.protocol.reenactment import interleave_by_video
from hia.evaluation.protocol.results import RESULTS, TABLE, Results, Video, gather, plain_figure, write_results
from hia.evaluation.report import REPORT, write_report
from hia.evaluation.scores import ClipSampling, MetricSettings
from hia.images import Frame, encode_png, load_image
from hia.io.files import Folder, write_json
from hia.io.hashing import json_digest
from hia.visualization.comparison import sheet, titled
from orchestration.chain.stage import StageFailed, StageRun
from orchestration.cluster import map_tasks
from orchestration.names import CONTACT_SHEET, SUMMARY
from orchestration.stages.export import cached_model, trained_weights
from orchestration.tracking.journal import metric_prefix, tracked_name

MEANS = "over all frames of all clips"


@dataclass(frozen=True)
class Evaluation:
    """The arguments of an evaluation's workers: plain values.

    weights: folders of the stages' weights in order; folder: of all outputs, which all workers see.
    fingerprint: of the stage, which identifies the model and all settings.
    """

    config: Config
    weights: tuple[str, ...]
    store: str
    split: Split
    folder: str
    fingerprint: str

    @property
    def prefix(self) -> str:
        """Prefix of its metrics' names."""
        return metric_prefix(self.split)

    @property
    def wanted(self) -> ReenactmentSettings:
        """Settings of the reenactment of every clip."""
        config = self.config
        return ReenactmentSettings(
            model=self.fingerprint,
            protocols=("truth", "default") if config.evaluation.default_sharpness else ("truth",),
            frames=config.training.evaluation_frames,
            seed=config.seed,
            sampling=config.sampling,
        )


@dataclass(frozen=True)
class ClipResult:
    """Result of a clip: its files, and the provenance of its metrics."""

    files: VideoFiles
    measured: Mapping[str, Any]


def evaluate(run: StageRun) -> dict[str, float]:
    """Reenact held-out clips, one task each, and compare with the truth; returns the metrics of all clips together.

    A store without held-out clips is evaluated on the clips that it was trained on, and every name says so. A clip that
    fails is named in the summary and set aside. Clips that a killed execution has finished are not made again. Raises
    StageFailed when all fail.
    """
    store = open_store(run.store, check="size")
    split: Split = "test" if store.of_split("test") else "train"
    clips = interleave_by_video(store.of_split(split))[: run.config.training.evaluation_clips]
    job = Evaluation(run.config, trained_weights(run), run.store, split, str(run.folder), run.fingerprint)
    done, set_aside = _evaluate_all(job, clips, run.show)
    about = reenactment_facts(job.wanted, job.config, store.fingerprint, split)
    results = gather(run.folder, [one.files for one in done], set_aside, done[0].measured, about)
    metrics = flat_metrics(results, job.prefix)
    write_results(run.folder, results)
    write_report(run.folder, results, f"Evaluation of {run.config.preset}")
    Folder(run.folder).write(CONTACT_SHEET, _sheet(job, results, metrics))
    write_json(run.folder / SUMMARY, _summary(job, store, results, metrics))
    _show(run, job, results)
    return metrics


def evaluate_clip(job: Evaluation, info: ClipInfo) -> ClipResult:
    """Evaluate one clip, in a worker, and keep its files. Raises ValueError for a clip that cannot be evaluated."""
    torch.set_num_threads(job.config.training.cpus_per_worker)
    model = cached_model(job.config, job.weights, job.store)
    metrics = _metrics(job.config.evaluation, "cuda" if job.config.training.gpus_per_worker else "cpu")
    clip = open_store(job.store, check="none").read(info)
    return ClipResult(score_clip(model, clip, job.wanted, metrics, job.folder), metrics.provenance())


def flat_metrics(results: Results, prefix: str = "") -> dict[str, float]:
    """All figures by name, such as `psnr` or `codec_cap/psnr`; those of true sharpness have the short names."""
    return {
        _full_name(prefix, method, name): figure.value
        for method, summary in results.summaries.items()
        for name, figure in summary.figures.items()
    }


@lru_cache(maxsize=1)
def _metrics(wanted: EvaluationConfig, device: str) -> Metrics:
    measuring = MetricSettings(ClipSampling(wanted.stride, wanted.colour), wanted.first_frame)
    # PSNR and the other measures of frames are always measured; only metrics that were named must have their weights.
    names = wanted.names if wanted.metrics is not None else None
    return load_metrics(names, own_weights(wanted.weights), measuring, device, usual=wanted.names)


def _evaluate_all(
    job: Evaluation, clips: Sequence[ClipInfo], show: bool
) -> tuple[list[ClipResult], list[dict[str, str]]]:
    """Results in the clips' order, and the clips that were set aside, with their reasons."""
    outcomes = map_tasks(evaluate_clip, [(job, clip) for clip in clips], job.config.training)
    bar = tqdm(outcomes, total=len(clips), desc="evaluate", unit="clip", disable=not show, dynamic_ncols=True)
    by_index = {outcome.index: outcome for outcome in bar}
    results = [by_index[index].value for index in range(len(clips)) if by_index[index].error is None]
    set_aside = [
        {"name": clip.id, "video": clip.video, "reason": str(error) or repr(error)}
        for index, clip in enumerate(clips)
        if (error := by_index[index].error) is not None
    ]
    if not results:
        reasons = "\n".join(f"  {one['name']} ({one['video']}): {one['reason']}" for one in set_aside)
        raise StageFailed(f"evaluate failed: none of {len(clips)} clips could be evaluated:\n{reasons}")
    for one in set_aside:
        tqdm.write(f"evaluate: clip {one['name']} ({one['video']}) is left out: {one['reason']}")
    return results, set_aside


def _full_name(prefix: str, method: str, name: str) -> str:
    return f"{prefix}{'' if method == OURS['truth'] else f'{method}/'}{tracked_name(name)}"


def _show(run: StageRun, job: Evaluation, results: Results) -> None:
    """Send the report and the pictures to the tracking server."""
    under = f"evaluation/{job.prefix}".rstrip("/")
    for name in (SUMMARY, RESULTS, TABLE, REPORT, CONTACT_SHEET):
        run.journal.artifact(name, under)
    for video in results.videos:
        # Where the page, which links to them, finds them.
        for path in video.files.videos.values():
            run.journal.artifact(path, f"{under}/{Path(path).parent.as_posix()}")


def _summary(job: Evaluation, store: ClipStore, results: Results, metrics: Mapping[str, float]) -> dict[str, Any]:
    """All that is needed to read the metrics. `truth` identifies the true frames: equal ones can be compared."""
    config = job.config
    frames = [[one.name, one.scores[OURS["truth"]].num_frames] for one in results.videos]
    return {
        "split": job.split,
        "metrics": dict(metrics),
        "methods": {
            method: {
                "figures": {name: plain_figure(figure) for name, figure in summary.figures.items()},
                "left_out": dict(summary.left_out),
            }
            for method, summary in results.summaries.items()
        },
        "clips": [_clip(job, one) for one in results.videos],
        "set_aside": [dict(one) for one in results.set_aside],
        "measured": dict(results.measured),
        "truth": json_digest(job.split, config.width, config.height, frames, MEANS),
        "store_fingerprint": store.fingerprint,
        "protocol": dict(results.about),
    }


def _clip(job: Evaluation, one: Video) -> dict[str, Any]:
    figures = one.scores[OURS["truth"]].figures
    facts = {
        **{"clip": one.name, "video": one.video, "split": job.split},
        "frames": one.scores[OURS["truth"]].num_frames,
        "identical": round(figures["identical_share"].value * figures["identical_share"].count),
    }
    return facts | {"metrics": _named(job, one)}


def _named(job: Evaluation, one: Video) -> dict[str, float]:
    """A clip's own metrics, by the names of the whole evaluation's."""
    return {
        _full_name(job.prefix, method, name): figure.value
        for method, scores in one.scores.items()
        for name, figure in scores.figures.items()
    }


def _sheet(job: Evaluation, results: Results, metrics: Mapping[str, float]) -> bytes:
    """The sheet as a PNG file: moments of every clip."""
    rows = [
        titled(f"{one.video}   ·   {_in_words(job, _named(job, one))}", _moments(job, one)) for one in results.videos
    ]
    return encode_png(sheet(_title(job, metrics), rows))


def _moments(job: Evaluation, one: Video) -> Frame:
    return load_image(Path(job.folder) / one.files.pictures[OURS["truth"]])


def _title(job: Evaluation, metrics: Mapping[str, float]) -> str:
    kind = "clips kept out of training" if job.split == "test" else "CLIPS THAT THE MODEL WAS TRAINED ON"
    return f"split: {job.split} ({kind})   ·   means: {_in_words(job, metrics)}"


def _in_words(job: Evaluation, metrics: Mapping[str, float]) -> str:
    ours, baseline, cap = (metrics[f"{job.prefix}{method}psnr"] for method in ("", f"{BASELINE}/", f"{CAP}/"))
    ssim = metrics[f"{job.prefix}ssim"]
    return f"PSNR {ours:.2f} dB (repeating the reference {baseline:.2f}, codec's cap {cap:.2f}), SSIM {ssim:.3f}"
