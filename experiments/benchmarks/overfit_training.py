"""Training of the overfitting benchmark's models by the product's own code, and animation of the kept-out frames."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from experiments.benchmarks.overfit_data import Material, around_hands, kept_out, prepare
from experiments.benchmarks.overfit_figures import (
    Knob,
    Learned,
    beside_truth,
    fastest_hands,
    hands_psnr,
    knob_figures,
    own_moment,
)
from hia.animation.inference import animate
from hia.conditions.blur import hand_sharpness
from hia.conditions.driving import DrivingSignal
from hia.config import Config, Stage
from hia.data.store.clip import Clip
from hia.data.store.statistics import hand_speed
from hia.evaluation.image import psnr
from hia.evaluation.protocol.reenactment import clip_driving_signal, reconstruct, true_frames
from hia.images import Frame, encode_png
from hia.io.files import Folder
from hia.models.animation_model import AnimationModel, save_model
from hia.models.codec import build_codec
from hia.video import write_video
from hia.visualization.comparison import Comparison
from orchestration.names import JOURNAL
from orchestration.tracking.journal import JournalWriter
from orchestration.training.loop import train_in_process
from orchestration.training.run import WEIGHTS, TrainingRun
from orchestration.training.weights import load_animator

Measure = Callable[[str], AbstractContextManager[None]]
"""Times a block under a name."""

# Asked for, from the most blurred hand of the training set to the sharpest.
KNOB = (0.0, 0.25, 0.5, 0.75, 1.0)


def learn_clips(videos: Sequence[str], folder: Path, config: Config, measure: Measure) -> dict[str, list[Learned]]:
    """Train all stages on the clips; figures and pictures after each stage, and the model in `folder`/model.

    The half-size stage is trained, but not judged: it ends in a model for another size than that of the others.
    """
    with measure("preprocessing"):
        material = prepare(videos, folder, config)
    figures: dict[str, list[Learned]] = {}
    weights: list[str] = []
    for stage in config.stages.in_order():
        weights.append(_train(config, stage, material, weights, folder, measure))
        if stage.resolution_scale == 1:
            model = _assembled(config, stage, weights, material)
            with measure(f"judging {stage.name}"):
                figures[stage.name] = [judge(model, clip, folder / stage.name) for clip in material.clips()]
            print("\n".join(f"  {one}" for one in figures[stage.name]), flush=True)
    save_model(model, folder / "model")
    return figures


def learn_knob(pair: Sequence[Path], keypoints: Path, folder: Path, config: Config, measure: Measure) -> Knob:
    """Train a spatial model on two videos, the sharp one and the blurred one, and turn its knob; in `folder`/pair."""
    folder = folder / "pair"
    (folder / "videos").mkdir(parents=True)
    stage = config.stages.spatial
    with measure("preprocessing the pair"):
        videos = [around_hands(video, keypoints, config, folder / "videos") for video in pair]
        material = prepare([str(video) for video in videos], folder, config)
    model = _assembled(config, stage, [_train(config, stage, material, [], folder, measure)], material)
    by_name = {Path(clip.info.video).name: clip for clip in material.clips()}
    sharp, blurred = (by_name[video.name] for video in videos)
    with measure("turning the knob"):
        knob = turn_knob(model, sharp, blurred, folder)
    print(f"  {knob}", flush=True)
    return knob


def _train(
    config: Config, stage: Stage, material: Material, weights: Sequence[str], folder: Path, measure: Measure
) -> str:
    """Train a stage after the earlier ones' weights, in this process; returns the folder of its own weights."""
    path = folder / stage.name
    path.mkdir()
    run = TrainingRun(config, stage.name, str(material.training.folder), str(path), tuple(weights))
    with measure(f"training {stage.name} ({stage.iterations} steps)"):
        train_in_process(run, JournalWriter(path / JOURNAL))
    return str(path / WEIGHTS)


def _assembled(config: Config, stage: Stage, weights: Sequence[str], material: Material) -> AnimationModel:
    """The model as it is after a stage, on the device of the training."""
    model = AnimationModel(
        config=config,
        animator=load_animator(config, weights, motion="motion" in stage.trains).eval().requires_grad_(False),
        codec=build_codec(config.codec),
        sharpness=material.training.sharpness_scale,
    )
    return model.to("cuda" if config.training.gpus_per_worker else "cpu", getattr(torch, config.training.dtype))


# ------------------------------------------------------------------------------------------------- what is animated


def judge(model: AnimationModel, clip: Clip, folder: Path) -> Learned:
    """Figures of a clip's kept-out frames and a picture of them; with motion layers, a video of the whole clip."""
    frames, everything, driving = kept_out(len(clip)), true_frames(model, clip), clip_driving_signal(model, clip)
    reference, truth, name = everything[0], everything[frames], Path(clip.info.video).stem
    if model.animator.has_motion:  # they read neighbours, so all frames are needed
        whole = _animated(model, reference, driving)
        comparison = Comparison(reference, driving, whole, everything)
        write_video(folder / f"{name}.mp4", comparison.video(), clip.info.fps)
        generated = whole[frames]
    else:
        generated = _animated(model, reference, at_frames(driving, frames))
    comparison = Comparison(reference, at_frames(driving, frames), generated, truth)
    Folder(folder).write(f"{name}.png", encode_png(beside_truth(comparison)))
    repeated, hands = np.broadcast_to(reference, truth.shape), clip.hand_boxes[frames]
    return Learned(
        video=clip.info.video,
        frames=len(frames),
        psnr=float(psnr(truth, generated).mean()),
        repeated=float(psnr(truth, repeated).mean()),
        codec=float(psnr(truth, reconstruct(model, truth)).mean()),
        hands=hands_psnr(truth, generated, hands),
        hands_repeated=hands_psnr(truth, repeated, hands),
        own_moment=own_moment(truth, generated, np.array(frames) / clip.info.fps),
    )


def turn_knob(model: AnimationModel, sharp: Clip, blurred: Clip, folder: Path) -> Knob:
    """The kept-out frames at every value of the knob, all else and the noise equal: figures, and a picture of hands.

    The keypoints, and with them the movement, are the same in both clips; the reference is the sharp one's frame 0.
    """
    frames = kept_out(len(sharp))
    driving, reference = at_frames(clip_driving_signal(model, sharp), frames), true_frames(model, sharp, 1)[0]
    turned = [replace(driving, sharpness=np.full_like(driving.sharpness, value)) for value in KNOB]
    animated = [_animated(model, reference, signal) for signal in turned]
    people = driving.keypoints
    obtained = [
        [hand_sharpness(*one) for one in zip(shown, people.keypoints, people.scores, strict=True)] for shown in animated
    ]
    speed = hand_speed(sharp.movement, sharp.array("scores"))[frames]
    rows = {f"asked {value:g}": shown for value, shown in zip(KNOB, animated, strict=True)}
    rows |= {"blurred video": true_frames(model, blurred)[frames], "sharp video": true_frames(model, sharp)[frames]}
    Folder(folder).write("knob.png", encode_png(fastest_hands(rows, sharp.hand_boxes[frames], speed)))
    return knob_figures(KNOB, np.array(obtained), speed)


def at_frames(driving: DrivingSignal, frames: Sequence[int]) -> DrivingSignal:
    """Some frames of a signal; movement stays that of the video."""
    people, chosen = driving.keypoints, list(frames)
    return replace(
        driving,
        keypoints=replace(people, keypoints=people.keypoints[chosen], scores=people.scores[chosen]),
        movement=driving.movement[chosen],
        sharpness=driving.sharpness[chosen],
    )


def _animated(model: AnimationModel, reference: Frame, driving: DrivingSignal) -> Frame:
    return np.stack(list(animate(model, reference, driving, seed=model.config.seed)))
