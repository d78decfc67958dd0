"""The trained model against clips that were kept out of training: metrics, videos, a sheet to look at."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from hia.config import Config
from hia.data.records import ClipInfo, Split
from hia.data.storage import Folder
from hia.data.store import ClipStore, open_store
from hia.evaluation.image import IDENTICAL_PSNR, MEASURES
from hia.evaluation.pictures import Comparison, sheet, sheet_row
from hia.evaluation.reenactment import own_signal, reconstruct, reenact
from hia.images import Frame
from hia.models.codec import build_codec
from hia.models.export import AnimationModel
from hia.models.image_encoder import load_image_encoder
from hia.video import write_video
from orchestration.chain.records import write_json
from orchestration.chain.stage import StageFailed, StageRun, digest
from orchestration.tasks import in_tasks
from orchestration.training.run import WEIGHTS
from orchestration.training.weights import load_animator

SUMMARY, TABLE, SHEET, VIDEOS = "summary.json", "metrics.csv", "contact_sheet.png", "videos"
BASELINE, CAP = "repeat_reference/", "codec_cap/"
# Metrics of clips that the model was trained on never go by the names of those that it was not.
TRAIN_PREFIX = "split_train/"


@dataclass(frozen=True)
class Evaluation:
    """What a worker is told of an evaluation: plain values.

    weights: folders of the stages' weights in order; folder: where videos go, which all workers see.
    """

    config: Config
    weights: tuple[str, ...]
    store: str
    split: Split
    folder: str

    @property
    def prefix(self) -> str:
        """What the names of its metrics begin with."""
        return metric_prefix(self.split)


@dataclass(frozen=True)
class ClipResult:
    """The evaluation of one clip.

    metrics: means over `frames` frames, the reference not among them; identical: how many of them equal the truth to
    the last bit, for which PSNR says 100. row: of the contact sheet.
    """

    clip: str
    video: str
    frames: int
    identical: int
    metrics: Mapping[str, float]
    row: Frame


def evaluate(run: StageRun) -> dict[str, float]:
    """Reenact held-out clips, one task each, and compare with the truth; returns the means over the clips.

    A store without held-out clips is evaluated on the clips that it was trained on, and every name says so. A clip that
    fails is named in the summary and set aside. Raises StageFailed when all fail.
    """
    store = open_store(run.store, check="size")
    split: Split = "test" if store.of_split("test") else "train"
    clips = spread(store.of_split(split))[: run.config.training.evaluation_clips]
    job = Evaluation(run.config, trained_weights(run), run.store, split, str(run.folder))
    (run.folder / VIDEOS).mkdir(exist_ok=True)
    results, set_aside = _evaluate_all(job, clips, run.show)
    metrics = {name: float(np.mean([one.metrics[name] for one in results])) for name in results[0].metrics}
    write_json(run.folder / SUMMARY, _summary(job, store, results, set_aside, metrics))
    files = Folder(run.folder)
    files.write(TABLE, _table(job, results))
    files.write(SHEET, encoded_png(sheet(_title(job, metrics), [one.row for one in results])))
    for name in (SUMMARY, TABLE, SHEET):
        run.journal.artifact(name, f"evaluation/{job.prefix}".rstrip("/"))
    for one in results:
        run.journal.artifact(f"{VIDEOS}/{one.clip}.mp4", f"evaluation/{job.prefix}{VIDEOS}")
    return metrics


def evaluate_clip(job: Evaluation, info: ClipInfo) -> ClipResult:
    """One clip, in a worker; writes its video. Raises ValueError for a clip that cannot be evaluated."""
    torch.set_num_threads(job.config.training.cpus_per_worker)
    model = _trained_model(job.config, job.weights, job.store)
    clip = open_store(job.store, check="none").read(info)
    frames = job.config.training.evaluation_frames
    if min(frames, len(clip)) < 2:
        raise ValueError(f"clip {info.id} ({info.video}): there is no frame but the reference to be compared")
    truth, generated = reenact(model, clip, job.config.sampling, job.config.seed, frames)
    repeated = np.broadcast_to(truth[:1], truth.shape)
    compared = {"": generated, BASELINE: repeated, CAP: reconstruct(model, truth)}
    values = {
        f"{job.prefix}{method}{name}": measure(truth[1:], shown[1:])
        for method, shown in compared.items()
        for name, measure in MEASURES.items()
    }
    metrics = {name: float(measured.mean()) for name, measured in values.items()}
    comparison = Comparison(truth[0], own_signal(model, clip, frames), generated, truth)
    write_video(Path(job.folder) / VIDEOS / f"{info.id}.mp4", comparison.video(), info.fps)
    identical = int((values[f"{job.prefix}psnr"] == IDENTICAL_PSNR).sum())
    row = sheet_row(f"{info.video}   ·   {_in_words(job, metrics)}", comparison)
    return ClipResult(info.id, info.video, len(truth) - 1, identical, metrics, row)


def trained_model(config: Config, weights: Sequence[str], store: ClipStore) -> AnimationModel:
    """The model that training has left in the stages' folders of weights, with the store's sharpness percentiles."""
    motion = any("motion" in stage.trains for stage in config.stages.in_order())
    animator = load_animator(config, weights, motion).eval().requires_grad_(False)
    source = config.pretrained.image_encoder
    return AnimationModel(
        config=config,
        animator=animator,
        codec=build_codec(config.codec),
        image_encoder=load_image_encoder(source) if source else None,
        sharpness=store.sharpness_scale,
    )


def trained_weights(run: StageRun) -> tuple[str, ...]:
    """Folders of the weights that the run's training stages have left, in order."""
    return tuple(str(run.inputs[stage.name] / WEIGHTS) for stage in run.config.stages.in_order())


def to_workers_device(model: AnimationModel) -> AnimationModel:
    """The model on the GPU that this worker was given, in bf16; on the CPU as it is."""
    given = model.config.training.gpus_per_worker
    return model.to("cuda", torch.bfloat16) if given else model


def metric_prefix(split: str) -> str:
    """What the names of a split's metrics begin with: nothing for clips kept out of training."""
    return "" if split == "test" else TRAIN_PREFIX


def spread(clips: Sequence[ClipInfo]) -> list[ClipInfo]:
    """The clips in an order whose beginning has as many different videos as there are."""
    by_video: dict[str, list[ClipInfo]] = {}
    for clip in clips:
        by_video.setdefault(clip.video, []).append(clip)
    rounds = itertools.zip_longest(*by_video.values())
    return [clip for one_of_each in rounds for clip in one_of_each if clip is not None]


def encoded_png(picture: Frame) -> bytes:
    """A picture, RGB uint8 [H, W, 3], as a PNG file's content."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


# A worker has the same model for all the clips that it is given.
@lru_cache(maxsize=1)
def _trained_model(config: Config, weights: tuple[str, ...], store: str) -> AnimationModel:
    return to_workers_device(trained_model(config, weights, open_store(store, check="none")))


def _evaluate_all(
    job: Evaluation, clips: Sequence[ClipInfo], show: bool
) -> tuple[list[ClipResult], list[dict[str, str]]]:
    """Results in the clips' order, and what was set aside, with its reason."""
    outcomes = in_tasks(evaluate_clip, [(job, clip) for clip in clips], job.config.training)
    bar = tqdm(outcomes, total=len(clips), desc="evaluate", unit="clip", disable=not show, dynamic_ncols=True)
    by_index = {outcome.index: outcome for outcome in bar}
    results = [by_index[index].value for index in range(len(clips)) if by_index[index].error is None]
    set_aside = [
        {"clip": clip.id, "video": clip.video, "reason": str(error) or repr(error)}
        for index, clip in enumerate(clips)
        if (error := by_index[index].error) is not None
    ]
    if not results:
        reasons = "\n".join(f"  {one['clip']} ({one['video']}): {one['reason']}" for one in set_aside)
        raise StageFailed(f"evaluate failed: none of {len(clips)} clips could be evaluated:\n{reasons}")
    for one in set_aside:
        tqdm.write(f"evaluate: clip {one['clip']} ({one['video']}) is left out: {one['reason']}")
    return results, set_aside


def _summary(
    job: Evaluation,
    store: ClipStore,
    results: Sequence[ClipResult],
    set_aside: Sequence[Mapping[str, str]],
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """All that is needed to read the metrics. `truth` names what was compared with: equal ones can be compared."""
    config = job.config
    frames = [[one.clip, one.frames] for one in results]
    return {
        "split": job.split,
        "metrics": dict(metrics),
        "clips": [_facts(job, one) | {"metrics": dict(one.metrics)} for one in results],
        "set_aside": list(set_aside),
        "truth": digest(job.split, config.width, config.height, frames),
        "store_fingerprint": store.fingerprint,
        "protocol": {
            **{"width": config.width, "height": config.height, "seed": config.seed, "sharpness": "truth"},
            "reference": "frame 0, which is not among the frames compared",
            "means": "over the frames of a clip, then over the clips",
            "sampling": asdict(config.sampling),
            "gamma": config.gamma,
        },
    }


def _table(job: Evaluation, results: Sequence[ClipResult]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_facts(job, results[0]), *results[0].metrics], lineterminator="\n")
    writer.writeheader()
    for one in results:
        writer.writerow(_facts(job, one) | dict(one.metrics))
    return text.getvalue().encode()


def _facts(job: Evaluation, one: ClipResult) -> dict[str, Any]:
    return {
        **{"clip": one.clip, "video": one.video, "split": job.split},
        **{"frames": one.frames, "identical": one.identical},
    }


def _title(job: Evaluation, metrics: Mapping[str, float]) -> str:
    kind = "clips kept out of training" if job.split == "test" else "CLIPS THAT THE MODEL WAS TRAINED ON"
    return f"split: {job.split} ({kind})   ·   means: {_in_words(job, metrics)}"


def _in_words(job: Evaluation, metrics: Mapping[str, float]) -> str:
    ours, baseline, cap = (metrics[f"{job.prefix}{method}psnr"] for method in ("", BASELINE, CAP))
    ssim = metrics[f"{job.prefix}ssim"]
    return f"PSNR {ours:.2f} dB (repeating the reference {baseline:.2f}, codec's cap {cap:.2f}), SSIM {ssim:.3f}"
