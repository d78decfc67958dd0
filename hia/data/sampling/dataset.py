"""The data set of a training stage: a map from positions in an endless order to training samples."""

import hashlib
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from hia.conditions.blur import SharpnessScale
from hia.config import Config, Stage
from hia.config.types import Split
from hia.data.sampling.draw import Draw, draw_reference, draw_targets, least_frames
from hia.data.sampling.epoch_sampler import EpochSampler
from hia.data.sampling.sample import (
    Sample,
    Size,
    comparable_faces,
    control_images,
    cut_driving_signal,
    cut_images,
    cut_regions,
)
from hia.data.store.clip import Clip, latents_name
from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo

# Keys that must be equal in two codecs if latents of one are to be used with the other.
CODEC_KEYS = ("kind", "factor", "latents_mean", "latents_std")


class TrainingSamples(Dataset[Sample]):
    """Samples of one stage from a store's clips; `samples[n]` is the sample at position n ≥ 0 of an endless order.

    It depends only on (seed, stage, n) and the store. An epoch of `len(samples)` positions draws
    `samples.samples_per_second` samples per second of each clip, at least one, in an order that differs from epoch to
    epoch; frames, reference, flip and stride are drawn anew each time.

    sharpness_scale: None for the store's. left_out: clips that are too short for the stage's windows.
    Raises ValueError when the store has another size than the configuration, when no clip is long enough, and when the
    stage needs something that is missing: a sharpness scale, face embeddings, latents of the configured codec.
    """

    def __init__(
        self,
        store: ClipStore,
        config: Config,
        stage: Stage,
        seed: int,
        split: Split = "train",
        sharpness_scale: SharpnessScale | None = None,
    ) -> None:
        self.store, self.config, self.stage = store, config, stage
        self.size: Size = (round(config.width * stage.resolution_scale), round(config.height * stage.resolution_scale))
        self.clips, self.left_out = _long_enough(store, config, stage, split)
        self.sharpness_scale = _sharpness_scale(store, config, sharpness_scale)
        _warn_of_missing_maps(store, self.clips, config.conditions.maps)
        self._read_from(store.read(self.clips[0]))
        rate = config.samples.samples_per_second
        self._ends = np.cumsum([max(1, round(info.seconds * rate)) for info in self.clips])
        self._seed = int.from_bytes(hashlib.sha256(f"{seed}/{stage.name}".encode()).digest()[:8], "big")
        self.order = EpochSampler(int(self._ends[-1]), self._seed)

    def __len__(self) -> int:
        """Number of samples in one epoch."""
        return self.order.num

    def clip_at(self, position: int) -> ClipInfo:
        """The clip of the sample at a position; no file is read."""
        return self._clip_of(self.order[position][1])

    def draw(self, position: int) -> Draw:
        """The frames of the sample at a position; the clip's file is opened only where faces are compared."""
        epoch, index = self.order[position]
        generator = np.random.default_rng([self._seed, epoch, index])
        info = self._clip_of(index)
        targets, still = draw_targets(info, self.stage, generator)
        identity = bool(self.stage.losses.identity)
        faces = comparable_faces(self.store.read(info)) if identity else np.zeros(0, np.int64)
        distance = math.ceil(self.config.samples.reference_distance_seconds * info.fps - 1e-6)
        reference = draw_reference(targets, info.num_frames, faces, distance, generator)
        mirrored = bool(generator.random() < self.config.samples.flip_probability)
        return Draw(info, targets, still, reference, mirrored)

    def __getitem__(self, position: int) -> Sample:
        """Read the sample at a position. Raises ValueError naming the file when a clip's file is damaged."""
        draw = self.draw(position)
        clip, mirrored = self.store.read(draw.clip), draw.mirrored
        signal = cut_driving_signal(clip, draw, self.size, self.sharpness_scale, self.config.conditions)
        latents, reference_latents = self._latents(clip, draw)
        losses = self.stage.losses
        reference_images = cut_images(clip, [draw.reference], self.size, mirrored) if self.needs_reference else None
        return Sample(
            sample_ids=(draw.sample_id,),
            control=control_images(signal, draw.still),
            latents=latents,
            reference_latents=reference_latents,
            images=cut_images(clip, draw.targets, self.size, mirrored) if self.needs_images else None,
            reference_image=None if reference_images is None else reference_images[0],
            image_token=torch.from_numpy(clip.image_token(draw.reference, mirrored)) if self.has_tokens else None,
            regions=cut_regions(clip, draw, signal, bool(losses.identity)) if losses.regional else None,
        )

    def _read_from(self, clip: Clip) -> None:
        """Decide which arrays a sample is read from, by the arrays of the clips."""
        wants_tokens = self.config.pretrained.image_encoder is not None
        needed = (False, True) if self.config.samples.mirrors else (False,)
        self.has_latents = all(clip.has(latents_name(*self.size, mirrored)) for mirrored in needed)
        self.has_tokens = wants_tokens and clip.has("image_tokens")
        self.needs_images = not self.has_latents or self.stage.losses.regional
        self.needs_reference = not self.has_latents or (wants_tokens and not self.has_tokens)
        if self.has_latents:
            _check_codec(self.store, self.config)
        if self.stage.losses.identity and not clip.has("face_embeddings"):
            raise ValueError(
                f"stage {self.stage.name} compares faces, but {self.store.folder} was made without face embeddings: "
                "preprocess again with preprocess.face_embedding_every above 0, or set the stage's losses.identity to 0"
            )

    def _latents(self, clip: Clip, draw: Draw) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if not self.has_latents:
            return None, None
        both = torch.from_numpy(clip.latents([draw.reference, *draw.targets], *self.size, draw.mirrored))
        return both[1:], both[0]

    def _clip_of(self, index: int) -> ClipInfo:
        return self.clips[int(np.searchsorted(self._ends, index, side="right"))]


def _long_enough(
    store: ClipStore, config: Config, stage: Stage, split: Split
) -> tuple[tuple[ClipInfo, ...], tuple[ClipInfo, ...]]:
    """The split's clips that are long enough for the stage, and those that are too short."""
    clips = store.of_split(split)
    if not clips:
        raise ValueError(f"{store.folder}: the store has no clip of the split {split}")
    for info in clips:
        if (info.width, info.height) != (config.width, config.height):
            raise ValueError(
                f"{store.folder}: its clips have {info.width}×{info.height} px, the configuration says "
                f"{config.width}×{config.height}: preprocess again with this configuration, or set width and height"
            )
    short = tuple(info for info in clips if info.num_frames < least_frames(stage, info.fps))
    if len(short) == len(clips):
        longest = max(clips, key=lambda info: info.num_frames / least_frames(stage, info.fps))
        raise ValueError(
            f"stage {stage.name} needs clips of at least {least_frames(stage, longest.fps)} frames at "
            f"{longest.fps:g} fps ({stage.frames} frames, stride {stage.frame_stride[0]}), but the longest of "
            f"{store.folder} ({split}) has {longest.num_frames}: use longer clips, fewer frames, or a smaller stride"
        )
    return tuple(info for info in clips if info.num_frames >= least_frames(stage, info.fps)), short


def _warn_of_missing_maps(store: ClipStore, clips: Sequence[ClipInfo], maps: Sequence[str]) -> None:
    for name in maps:
        if lacking := sum(name not in clip.maps for clip in clips):
            warnings.warn(
                f"{store.folder}: {lacking} of {len(clips)} clips have no map {name}: it is black for them. Put it "
                f"beside the videos (clip.{name}.mp4) and preprocess again, or leave it out of conditions.maps",
                stacklevel=3,
            )


def _sharpness_scale(store: ClipStore, config: Config, given: SharpnessScale | None) -> SharpnessScale | None:
    """The scale to normalise sharpness with; None to use ranks within a clip instead."""
    if config.conditions.sharpness_scale == "clip" or not config.conditions.blur:
        return None
    scale = given or store.sharpness_scale
    if scale is None:
        raise ValueError(
            f"{store.folder}: too few hands to know how sharp hands are; use more clips that show hands, or set "
            "conditions.sharpness_scale to clip"
        )
    return scale


def _check_codec(store: ClipStore, config: Config) -> None:
    """Check that stored latents are of the configured codec: a model trained on others could not be decoded."""
    stored = store.settings.get("codec") or {}
    expected = {key: getattr(config.codec, key) for key in CODEC_KEYS}
    found = {key: stored.get(key) for key in CODEC_KEYS}
    if _plain(found) != _plain(expected):
        raise ValueError(
            f"{store.folder} holds latents of another codec: {found}, the configuration says {expected}; preprocess "
            "again with this configuration"
        )


def _plain(settings: dict) -> dict:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
