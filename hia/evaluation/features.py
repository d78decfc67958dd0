"""Features of videos for Fréchet distances: FID (as pytorch-fid, which DisCo uses), FID-VID and FVD (DisCo's code).

An extractor turns the frames of one video into rows of features: of single frames, or of clips of 16.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from hia.config.metrics import METRICS, figure_key, network_of
from hia.evaluation.frechet import require_finite
from hia.evaluation.networks.i3d import NUM_CLASSES, InceptionI3d
from hia.evaluation.networks.inception import FidInception
from hia.evaluation.networks.resnet3d import ResNet3d
from hia.evaluation.scores import BLACK, CLIP_LENGTH, ClipSampling, Features, MetricInput, MetricUnavailable
from hia.evaluation.weights.loading import Provenance, official_state, state_of_file
from hia.images import Frame
from hia.weights.load import load_strict

INCEPTION_SIDE, I3D_SIDE, RESNET3D_SIDE = 299, 224, 112
# Kinetics' mean of red, green and blue on 0–255.
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)
BATCH = 16


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """A network on a device. metric: its name in the literature, if its weights are the published ones."""

    metric: str
    network: nn.Module
    dimension: int
    provenance: Provenance

    @property
    def key(self) -> str:
        """`fid`, `fvd`, … with published weights, else `fd[network]`."""
        return figure_key(self.metric, self.provenance.network, self.provenance.known)

    def measure(self, video: MetricInput) -> Features:
        """Rows of both videos, for a Fréchet distance over all videos.

        Raises ValueError when the known rows of the true video are not as many as the generated video has.
        """
        pair, cutting = video.counted, video.settings.cutting
        made = self(pair.generated, cutting, "the generated video")
        if len(made) == 0:
            raise MetricUnavailable(f"{len(pair)} frames are less than a clip of {CLIP_LENGTH}")
        true = video.true_features.get(self.key)
        if true is None:
            true = self(pair.real, cutting, "the true video")
        if true.shape != made.shape:
            raise ValueError(
                f"known {self.key} features of the true video are {list(true.shape)}, those of the generated one "
                f"{list(made.shape)}: they are of another video, or were cut otherwise"
            )
        return Features(made, true)

    def __call__(self, frames: Frame, cutting: ClipSampling, name: str = "video") -> NDArray[np.float32]:
        """Rows [N, dimension] of frames uint8 [F, H, W, 3]. Raises ValueError, with the video's name, if not finite."""
        rows = [self._rows(inputs) for inputs in self._inputs(frames, cutting)]
        if not rows:
            return np.zeros((0, self.dimension), np.float32)
        features = np.concatenate(rows)
        require_finite(features, f"{self.key} features of {name}")
        return features

    def _inputs(self, frames: Frame, cutting: ClipSampling) -> Iterator[Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def _rows(self, inputs: Tensor) -> NDArray[np.float32]:
        device = next(self.network.parameters()).device
        return self.network(inputs.to(device)).float().cpu().numpy()


class FrameExtractor(NetworkExtractor):
    """FID: every frame is a row. Bilinear scaling without anti-aliasing, as in pytorch-fid."""

    def _inputs(self, frames: Frame, cutting: ClipSampling) -> Iterator[Tensor]:
        for first in range(0, len(frames), BATCH):
            square = pad_square(frames[first : first + BATCH], cutting.colour)
            pictures = torch.from_numpy(square).movedim(-1, 1).float() / 255
            size = (INCEPTION_SIDE, INCEPTION_SIDE)
            yield 2 * functional.interpolate(pictures, size, mode="bilinear", align_corners=False) - 1


class ClipExtractor(NetworkExtractor):
    """FVD: every clip is a row, the mean of the logits over time."""

    def _inputs(self, frames: Frame, cutting: ClipSampling) -> Iterator[Tensor]:
        # Scaled once: clips with a small stride share frames.
        pictures = scaled_square(frames, cutting, I3D_SIDE) / 127.5 - 1
        for clip in cut(pictures, cutting.stride):
            yield clip.movedim(1, 0)[None]


class SegmentExtractor(NetworkExtractor):
    """FID-VID: every clip is a row; a whole video the mean over its segments of 16 frames, the last one filled up."""

    def _inputs(self, frames: Frame, cutting: ClipSampling) -> Iterator[Tensor]:
        if cutting.stride is None:
            frames = filled_up(frames, CLIP_LENGTH)
        pictures = scaled_square(frames, cutting, RESNET3D_SIDE) - torch.tensor(KINETICS_MEAN)[:, None, None]
        for clip in cut(pictures, cutting.stride):
            yield clip.unflatten(0, (-1, CLIP_LENGTH)).movedim(2, 1)

    def _rows(self, inputs: Tensor) -> NDArray[np.float32]:
        return super()._rows(inputs).mean(axis=0, keepdims=True)


class _Backbone(NamedTuple):
    extractor: type[NetworkExtractor]
    dimension: int
    # The network without weights, of a variant of its graph where there are several.
    build: Callable[[str], nn.Module]


BACKBONES: Mapping[str, _Backbone] = MappingProxyType(
    {
        "inception": _Backbone(FrameExtractor, 2048, lambda _: FidInception()),
        "resnet3d": _Backbone(SegmentExtractor, 2048, lambda _: ResNet3d()),
        "i3d": _Backbone(ClipExtractor, NUM_CLASSES, InceptionI3d),
    }
)
"""Networks of distances by name, with their extractor and the length of their rows."""


def load_extractor(
    metric: str, weights: str | Path | None = None, device: str = "cpu", download: bool = False
) -> NetworkExtractor:
    """The extractor of a published metric with its official weights, or with those of the file `weights`.

    The latter goes by the metric's name only if it turns out to be the official one. Raises MissingWeights,
    AlteredWeights (see `official_state`), and ValueError, naming the file, when weights do not fit the network.
    """
    name, variant = network_of(metric), METRICS[metric].variant
    backbone = BACKBONES[name]
    state, provenance = official_state(name, download) if weights is None else state_of_file(name, weights)
    module = backbone.build(variant)
    load_strict(module, state, " and ".join(provenance.files))
    return backbone.extractor(metric, module.to(device), backbone.dimension, replace(provenance, variant=variant))


def scaled_square(frames: Frame, cutting: ClipSampling, side: int) -> Tensor:
    """Pad and scale frames: uint8 [F, H, W, 3] → float32 [F, 3, side, side] on 0–255, one at a time."""
    return torch.cat([scaled(pad_square(frame[None], cutting.colour), side) for frame in frames])


def cut(pictures: Tensor, stride: int | None) -> Iterator[Tensor]:
    """Clips [16, ...] of [F, ...], or all of it when the stride is None."""
    if stride is None:
        yield pictures
        return
    for start in clip_starts(len(pictures), CLIP_LENGTH, stride):
        yield pictures[start : start + CLIP_LENGTH]


def pad_square(frames: Frame, colour: int = BLACK) -> Frame:
    """Pad pictures to squares, centred: uint8 [N, H, W, 3] → [N, S, S, 3], S the longer side, `colour` around them.

    Where an odd number of pixels is missing, the larger margin is below or at the right.
    """
    height, width = frames.shape[1:3]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((len(frames), side, side, 3), colour, np.uint8)
    square[:, top : top + height, left : left + width] = frames
    return square


def scaled(frames: Frame, side: int) -> Tensor:
    """Scale pictures: uint8 [N, H, W, 3] → float32 [N, 3, side, side] on 0–255, Pillow's anti-aliased bicubic filter.

    Not clipped: like DisCo's code, it scales every channel in floating point, so that values overshoot at edges.
    """
    resized = [[_scaled_channel(frame[..., channel], side) for channel in range(3)] for frame in frames]
    return torch.from_numpy(np.array(resized, np.float32))


def _scaled_channel(channel: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(channel.astype(np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)


def clip_starts(num_frames: int, length: int, stride: int) -> range:
    """First frames of all whole clips; frames left at the end, fewer than a clip, belong to none."""
    return range(0, num_frames - length + 1, stride)


def filled_up(frames: Frame, length: int) -> Frame:
    """The video with its last frame repeated until its length is a multiple of `length` (DisCo's FID-VID)."""
    missing = -len(frames) % length
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
