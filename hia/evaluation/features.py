"""Features of videos for Fréchet distances: FID (DisCo's way: pytorch-fid), FID-VID and FVD (DisCo's code).

An extractor turns the frames of one video into rows of features: of single frames, or of clips of 16.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from hia.evaluation.frechet import require_finite
from hia.evaluation.networks.i3d import NUM_CLASSES, InceptionI3d, Variant
from hia.evaluation.networks.inception import FidInception
from hia.evaluation.networks.resnet3d import ResNet3d
from hia.evaluation.weights import Network, Provenance, official_state, state_of_file
from hia.images import Frame
from hia.weights import load_strict

BLACK = 0
CLIP_LENGTH = 16
INCEPTION_SIDE, I3D_SIDE, RESNET3D_SIDE = 299, 224, 112
# Kinetics' mean of red, green and blue on 0–255.
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)
BATCH = 16
Distance = Literal["fid", "fid_vid", "fvd", "fvd_videogpt", "fvd_tensorflow"]


def pad_square(frames: Frame, colour: int = BLACK) -> Frame:
    """Pictures in the middle of squares: uint8 [N, H, W, 3] → [N, S, S, 3], S the longer side, `colour` around them.

    Where an odd number of pixels is missing, the one more is below or at the right.
    """
    height, width = frames.shape[1:3]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((len(frames), side, side, 3), colour, np.uint8)
    square[:, top : top + height, left : left + width] = frames
    return square


def scaled(frames: Frame, side: int) -> Tensor:
    """uint8 [N, H, W, 3] → float32 [N, 3, side, side] on 0–255: Pillow's bicubic filter, anti-aliased, not clipped.

    Like DisCo's, which scales every channel in floating point, so that values overshoot at edges.
    """
    resized = [[_scaled_channel(frame[..., channel], side) for channel in range(3)] for frame in frames]
    return torch.from_numpy(np.array(resized, np.float32))


def clip_starts(num_frames: int, length: int, stride: int) -> range:
    """First frames of all whole clips; what is left at the end, less than a clip, belongs to none."""
    return range(0, num_frames - length + 1, stride)


def filled_up(frames: Frame, length: int) -> Frame:
    """The video with its last frame repeated until its length is a multiple of `length` (DisCo's FID-VID)."""
    missing = -len(frames) % length
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])


def _scaled_channel(channel: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(channel.astype(np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)


@dataclass(frozen=True)
class ClipSampling:
    """How videos become clips and squares; part of a result, for numbers of other cuttings cannot be compared.

    stride: frames from one 16-frame clip's start to the next one's (DisCo's folders: 1), or None: every video is one
    clip (DisCo's mp4 files), whatever its length. colour: grey level around pictures that are not square.
    """

    stride: int | None = CLIP_LENGTH
    colour: int = BLACK

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"the clip stride must be at least 1 or None, not {self.stride}")
        if not 0 <= self.colour <= 255:
            raise ValueError(f"the padding's colour must be a grey level from 0 to 255, not {self.colour}")


class Extractor(Protocol):
    """Turns videos into features of `dimension` numbers; `key` is the only name under which a distance may go."""

    dimension: int
    provenance: Provenance

    @property
    def key(self) -> str: ...

    def __call__(self, frames: Frame, cutting: ClipSampling, name: str = "video") -> NDArray[np.float32]:
        """Rows [N, dimension] of frames uint8 [F, H, W, 3]; N may be 0 for a video shorter than a clip."""
        ...


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
        return self.metric if self.provenance.known else f"fd[{self.provenance.network}]"

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


def scaled_square(frames: Frame, cutting: ClipSampling, side: int) -> Tensor:
    """uint8 [F, H, W, 3] → float32 [F, 3, side, side] on 0–255, a frame at a time."""
    return torch.cat([scaled(pad_square(frame[None], cutting.colour), side) for frame in frames])


def cut(pictures: Tensor, stride: int | None) -> Iterator[Tensor]:
    """Clips [16, ...] of [F, ...], or all of it when the stride is None."""
    if stride is None:
        yield pictures
        return
    for start in clip_starts(len(pictures), CLIP_LENGTH, stride):
        yield pictures[start : start + CLIP_LENGTH]


@dataclass(frozen=True)
class _Kind:
    network: Network
    extractor: type[NetworkExtractor]
    dimension: int
    variant: Variant | None = None

    def module(self) -> nn.Module:
        if self.variant is not None:
            return InceptionI3d(self.variant)
        return FidInception() if self.network == "inception" else ResNet3d()


_KINDS: Mapping[Distance, _Kind] = MappingProxyType(
    {
        "fid": _Kind("inception", FrameExtractor, 2048),
        "fid_vid": _Kind("resnet3d", SegmentExtractor, 2048),
        "fvd": _Kind("i3d", ClipExtractor, NUM_CLASSES, "disco"),
        "fvd_videogpt": _Kind("i3d", ClipExtractor, NUM_CLASSES, "videogpt"),
        "fvd_tensorflow": _Kind("i3d", ClipExtractor, NUM_CLASSES, "tensorflow"),
    }
)
DISTANCES: tuple[Distance, ...] = tuple(_KINDS)


def load_extractor(
    metric: Distance, weights: str | Path | None = None, device: str = "cpu", download: bool = False
) -> NetworkExtractor:
    """The extractor of a published metric with its official weights, or with those of the file `weights`.

    The latter goes by the metric's name only if it turns out to be the official one. Raises MissingWeights,
    AlteredWeights (see `official_state`), and ValueError, naming the file, when weights do not fit the network.
    """
    kind = _KINDS[metric]
    state, provenance = (
        official_state(kind.network, download) if weights is None else state_of_file(kind.network, weights)
    )
    module = kind.module()
    load_strict(module, state, " and ".join(provenance.files))
    named = Provenance(provenance.network, provenance.files, provenance.known, kind.variant or "")
    return kind.extractor(metric, module.to(device), kind.dimension, named)
