"""Reenactment of a store's clips by a model, with scores; finished clips are kept.

For every clip and method, FOLDER/clips/CLIP/METHOD/ holds `scores.safetensors` and, for the model's own animations,
`result` with the frames as PNG files, lossless, and a video beside the truth.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hia.config import SamplingConfig
from hia.data.store.clip import Clip
from hia.evaluation.metrics import Metrics
from hia.evaluation.protocol.cache import (
    GENERATED_VERSION,
    cached_directory,
    is_cached,
    load_scores,
    save_scores,
    settings_digest,
)
from hia.evaluation.protocol.reenactment import Sharpness, clip_driving_signal, reconstruct, reenact, true_frames
from hia.evaluation.scores import Rows, VideoPair, VideoScores
from hia.images import Frame, write_png
from hia.io.files import remove_aside
from hia.io.hashing import key_digest
from hia.models.animation_model import AnimationModel
from hia.pose.keypoints import KeypointSequence
from hia.video import read_frames, write_video
from hia.visualization.comparison import Comparison, moments_row
from hia.visualization.html import identifier

OURS: Mapping[Sharpness, str] = MappingProxyType({"truth": "truth_sharpness", "default": "default_sharpness"})
"""Names of the model's own methods by the source of the hands' sharpness."""

BASELINE, CAP = "repeat_reference", "codec_cap"
CLIPS, RESULT, SCORES = "clips", "result", "scores.safetensors"
FRAMES, VIDEO, MOMENTS = "frames", "side_by_side.mp4", "moments.png"


@dataclass(frozen=True)
class ReenactmentSettings:
    """Settings of the animation of every clip.

    model: fingerprint of the model's content. protocols: sources of the hands' sharpness, one animation each. frames:
    at most so many of a clip; None for all. sampling: None for the model's own.
    """

    model: str
    protocols: tuple[Sharpness, ...] = ("truth", "default")
    frames: int | None = None
    seed: int = 0
    sampling: SamplingConfig | None = None


@dataclass(frozen=True)
class VideoFiles:
    """Files of one video's scores and results: plain values that travel between workers.

    name: unique; video: the name that people see. scores, videos, pictures: files by method, relative to the
    evaluation's folder.
    """

    name: str
    video: str
    scores: Mapping[str, str]
    videos: Mapping[str, str]
    pictures: Mapping[str, str]


def score_clip(
    model: AnimationModel, clip: Clip, wanted: ReenactmentSettings, metrics: Metrics, folder: str | Path
) -> VideoFiles:
    """Animate a clip by each protocol; score the animations, the repeated reference, and the codec's reconstruction.

    Results that `folder` holds already, of the same model and settings, are not computed again. Raises ValueError, with
    the clip's name, when it cannot be evaluated.
    """
    work = _ClipEvaluation(model, clip, wanted, metrics, Path(folder))
    work.check_length()
    made: dict[str, Callable[[], Frame]] = {OURS[one]: partial(work.generated, one) for one in wanted.protocols}
    made |= {BASELINE: work.repeated, CAP: work.reconstructed}
    known: dict[str, Rows] = {}
    for method, frames in made.items():
        scores = work.scores(method, frames, known)
        known |= {key: features.real for key, features in scores.features.items()}
    return work.files(list(made))


@dataclass(frozen=True)
class _ClipEvaluation:
    model: AnimationModel
    clip: Clip
    wanted: ReenactmentSettings
    metrics: Metrics
    folder: Path

    @property
    def place(self) -> str:
        return f"{CLIPS}/{identifier(self.clip.info.id)}"

    @cached_property
    def truth(self) -> Frame:
        return true_frames(self.model, self.clip, self.wanted.frames)

    @cached_property
    def keypoints(self) -> KeypointSequence:
        return clip_driving_signal(self.model, self.clip, self.wanted.frames).keypoints

    @cached_property
    def mark(self) -> str:
        sampling = self.wanted.sampling or self.model.config.sampling
        about = (self.wanted.model, self.wanted.frames, self.wanted.seed, asdict(sampling))
        return key_digest(GENERATED_VERSION, asdict(self.clip.info), *about)

    def check_length(self) -> None:
        """Check, before anything is animated, that some frame counts. Raises ValueError."""
        info, first = self.clip.info, self.metrics.measuring.first_frame
        if min(self.wanted.frames or len(self.clip), len(self.clip)) <= first:
            only = (
                "there is no frame but the reference" if first == 1 else f"there are no frames after the first {first}"
            )
            raise ValueError(f"clip {info.id} ({info.video}): {only} to be compared")

    def scores(self, method: str, frames: Callable[[], Frame], known: Mapping[str, Rows]) -> VideoScores:
        path, mark = (
            self.folder / self.place / method / SCORES,
            key_digest(self.mark, method, settings_digest(self.metrics)),
        )
        kept = load_scores(path, mark)
        if kept is not None and (
            method in (BASELINE, CAP) or is_cached(path.parent / RESULT, self._result_mark(method))
        ):
            return kept
        scores = self.metrics.score(VideoPair(self.clip.info.id, frames(), self.truth, self.keypoints), known)
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_aside(path.parent)
        save_scores(path, scores, mark)
        return scores

    def generated(self, sharpness: Sharpness) -> Frame:
        """The clip's animation, from its files or new."""
        method = OURS[sharpness]
        folder = self.folder / self.place / method / RESULT
        mark = self._result_mark(method)
        if is_cached(folder, mark):
            return np.stack(list(read_frames(folder / FRAMES)))
        wanted = self.wanted
        _, frames = reenact(self.model, self.clip, wanted.sampling, wanted.seed, wanted.frames, sharpness)
        with cached_directory(
            folder, mark, {"clip": self.clip.info.id, "video": self.clip.info.video, "method": method}
        ) as new:
            signal = clip_driving_signal(self.model, self.clip, wanted.frames, sharpness)
            _write(new, Comparison(self.truth[0], signal, frames, self.truth), self.clip.info.fps)
        return frames

    def repeated(self) -> Frame:
        """The reference repeated for every frame: the baseline that an animation must surpass."""
        return np.broadcast_to(self.truth[:1], self.truth.shape)

    def reconstructed(self) -> Frame:
        """The truth through the codec and back: an upper bound for any animation in its latents."""
        return reconstruct(self.model, self.truth)

    def files(self, methods: list[str]) -> VideoFiles:
        """The files of all methods."""
        ours = [method for method in methods if method not in (BASELINE, CAP)]
        return VideoFiles(
            name=self.clip.info.id,
            video=self.clip.info.video,
            scores={method: f"{self.place}/{method}/{SCORES}" for method in methods},
            videos={method: f"{self.place}/{method}/{RESULT}/{VIDEO}" for method in ours},
            pictures={method: f"{self.place}/{method}/{RESULT}/{MOMENTS}" for method in ours},
        )

    def _result_mark(self, method: str) -> str:
        return key_digest(self.mark, method)


def _write(folder: Path, comparison: Comparison, fps: float) -> None:
    (folder / FRAMES).mkdir()
    for index, frame in enumerate(comparison.generated):
        write_png(folder / FRAMES / f"{index:06d}.png", frame)
    write_video(folder / VIDEO, comparison.video(), fps)
    write_png(folder / MOMENTS, moments_row(comparison))
