"""The sample stage: a video of a held-out person in another video's motion, made with the exported model."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import DrivingSignal, driving_signal
from hia.config import SamplingConfig
from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore, open_store
from hia.data.store.records import ClipInfo
from hia.evaluation.protocol.reenactment import clip_driving_signal, interleave_by_video, true_frames
from hia.images import encode_png
from hia.io.files import Folder, write_json
from hia.models.animation_model import AnimationModel, load_model
from hia.pose.keypoints import BODY, JOINTS, SCORE_THRESHOLD, KeypointSequence
from hia.pose.retarget import align_to_reference
from hia.video import write_video
from hia.visualization.comparison import Comparison, sheet, sheet_row
from orchestration.chain.stage import StageFailed, StageRun
from orchestration.cluster import map_tasks
from orchestration.names import EXPORT, MODEL, SAMPLE_SIDE_BY_SIDE, SAMPLE_VIDEO
from orchestration.stages.export import to_workers_device

SHEET, NOTE = "sample.png", "sample.json"
LONGEST_SECONDS = 2.0
# Most clips of a split that are considered, of a store of any size.
CANDIDATES = 16
# Of the joints that a person shows; with less, their own motion is more to look at.
LEAST_SUITABLE = 0.5
LIMBS = slice(JOINTS["left_shoulder"], BODY.stop)


@dataclass(frozen=True)
class Choice:
    """The clip whose person is animated and the clip whose motion drives; twice the same is a self reenactment."""

    reference: ClipInfo
    driving: ClipInfo

    @property
    def is_own(self) -> bool:
        """True if the driving clip shows the same person, so that the true frames are known."""
        return self.reference.id == self.driving.id


@dataclass(frozen=True)
class SampleJob:
    """The arguments of the sample's worker: plain values. folder: of the outputs, which the worker sees."""

    model: str
    store: str
    folder: str
    sampling: SamplingConfig
    seed: int
    threads: int


def sample(run: StageRun) -> dict[str, float]:
    """Animate a held-out clip's first frame by another clip's motion, or by its own where there is no other.

    Returns the number of frames. Raises StageFailed with the reason when it cannot be made.
    """
    job = SampleJob(
        model=str(run.inputs[EXPORT] / MODEL),
        store=run.store,
        folder=str(run.folder),
        sampling=run.config.sampling,
        seed=run.config.seed,
        threads=run.config.training.cpus_per_worker,
    )
    (outcome,) = map_tasks(make_sample, [(job,)], run.config.training)
    if outcome.error is not None:
        raise StageFailed(f"sample failed: {outcome.error}") from outcome.error
    for name in (SAMPLE_VIDEO, SAMPLE_SIDE_BY_SIDE, SHEET, NOTE):
        run.journal.artifact(name, "samples")
    return {"frames": float(outcome.value)}


def make_sample(job: SampleJob) -> int:
    """Write the sample's files, in a worker; returns the number of frames."""
    torch.set_num_threads(job.threads)
    model, store, folder = load_model(job.model), open_store(job.store, check="none"), Path(job.folder)
    choice, driving = choose(model, store)
    to_workers_device(model)
    reference = true_frames(model, store.read(choice.reference), 1)[0]
    generated = np.stack(list(animate(model, reference, driving, job.sampling, job.seed)))
    truth = true_frames(model, store.read(choice.driving), len(generated)) if choice.is_own else None
    comparison = Comparison(reference, driving, generated, truth)
    write_video(folder / SAMPLE_VIDEO, generated, choice.driving.fps)
    write_video(folder / SAMPLE_SIDE_BY_SIDE, comparison.video(), choice.driving.fps)
    title = _title(choice)
    Folder(folder).write(SHEET, encode_png(sheet(title, [sheet_row("", comparison)])))
    write_json(folder / NOTE, _note(choice) | {"frames": len(generated), "seed": job.seed, "title": title})
    return len(generated)


def choose(model: AnimationModel, store: ClipStore) -> tuple[Choice, DrivingSignal]:
    """Choose the first held-out clip whose person can be animated, and the motion of another video that suits it best.

    That is one that shows as much of the body, within the frame once it is fitted to the person; among equals, of a
    held-out clip. A store without held-out clips is sampled from what it has. Where no other motion can be used, the
    first clip is animated by its own.
    """
    held_out, trained_on = (interleave_by_video(store.of_split(split))[:CANDIDATES] for split in ("test", "train"))
    references = held_out or trained_on
    conditions = model.config.conditions
    for reference in map(store.read, references):
        others = [store.read(info) for info in (*held_out, *trained_on) if info.video != reference.info.video]
        person = reference.keypoints.resized(model.config.width, model.config.height)
        fitted = [(clip, motion) for clip in others if (motion := aligned(person, clip)) is not None]
        clip, motion = max(fitted, key=lambda one: suitability(person, one[1]), default=(None, None))
        if clip is None or motion is None or suitability(person, motion) < LEAST_SUITABLE:
            continue
        sharpness = default_sharpness(model)
        return Choice(reference.info, clip.info), driving_signal(
            motion, person.width, person.height, sharpness, conditions
        )
    first = references[0]
    clip = store.read(first)
    return Choice(first, first), clip_driving_signal(model, clip, _num_frames(clip))


def suitability(person: KeypointSequence, motion: KeypointSequence) -> float:
    """Share of the limbs' joints in the person's first frame that the motion mostly shows there, in whole quarters."""
    wanted = _limbs_in_sight(person)[0]
    visible = _limbs_in_sight(motion).mean(axis=0) >= 0.5
    return math.floor(4 * (wanted & visible).sum() / max(wanted.sum(), 1)) / 4


def aligned(person: KeypointSequence, driving: Clip) -> KeypointSequence | None:
    """The driving clip's motion in the place and proportions of the person in their first frame.

    None when they show no part of the body in common.
    """
    width, height, frames = person.width, person.height, _num_frames(driving)
    motion: KeypointSequence = replace(
        driving.keypoints, keypoints=driving.keypoints.keypoints[:frames], scores=driving.keypoints.scores[:frames]
    )
    try:
        return align_to_reference(motion.resized(width, height), person.keypoints[0], person.scores[0], width, height)
    except ValueError:
        return None


def _limbs_in_sight(motion: KeypointSequence) -> NDArray[np.bool_]:
    """True where a limb is seen within the frame, bool [N, limbs]."""
    points, scores = motion.keypoints[:, LIMBS], motion.scores[:, LIMBS]
    inside = (points >= 0).all(axis=-1) & (points[..., 0] < motion.width) & (points[..., 1] < motion.height)
    return inside & (scores >= SCORE_THRESHOLD)


def _num_frames(clip: Clip) -> int:
    return min(len(clip), max(1, round(LONGEST_SECONDS * clip.info.fps)))


def _title(choice: Choice) -> str:
    person = f"the person of {choice.reference.video} (split: {choice.reference.split})"
    if choice.is_own:
        return f"{person}, by their own motion"
    return f"{person}, by the motion of {choice.driving.video} (split: {choice.driving.split})"


def _note(choice: Choice) -> dict[str, object]:
    def facts(clip: ClipInfo) -> dict[str, str]:
        return {"clip": clip.id, "video": clip.video, "split": clip.split}

    return {"reference": facts(choice.reference), "driving": facts(choice.driving), "own_motion": choice.is_own}
