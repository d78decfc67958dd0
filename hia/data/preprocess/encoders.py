"""Network encodings of a clip: latents, image tokens and face embeddings, of each frame and of its mirror image.

The mirror image is encoded itself: its latents differ from the mirrored latents.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hia.config import Config
from hia.data.preprocess.annotations import Arrays
from hia.data.store.clip import latents_name
from hia.images import Frame, to_tensor
from hia.models.codec import Codec, build_codec
from hia.models.face import FaceEmbedder, load_face_embedder
from hia.models.image_encoder import ImageEncoder, load_image_encoder

# Frames per batch. It is fixed because results of another batch size round differently.
BATCH = 8


@dataclass(frozen=True)
class Encoders:
    """The networks of a preset, loaded once per worker; None where the preset has none.

    latent_sizes: (width, height) px at which latents are kept, none without a codec; mirrored_latents: latents of the
    mirrored frames are kept as well. face_every: frames from one face embedding to the next. On a CPU the last bits
    depend on torch's number of threads, so workers must be started with a fixed one.
    """

    codec: Codec | None = None
    image_encoder: ImageEncoder | None = None
    face_embedder: FaceEmbedder | None = None
    latent_sizes: tuple[tuple[int, int], ...] = ()
    mirrored_latents: bool = True
    face_every: int = 10
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the networks' weights: with the settings, they determine the encodings."""
        networks = {"codec": self.codec, "image_encoder": self.image_encoder, "face_embedder": self.face_embedder}
        return {name: _weights_hash(network) for name, network in networks.items() if network is not None}

    def begin(self, five_points: NDArray[np.float32], usable: NDArray[np.bool_]) -> "ClipEncoder":
        """An encoder for one clip; five_points [N, 5, 2] and usable [N] as in `hia.data.store.clip.Clip`."""
        faces = [index for index in range(0, len(usable), self.face_every) if usable[index]]
        return ClipEncoder(self, five_points, faces if self.face_embedder else [])


class ClipEncoder:
    """An encoder of one clip: takes frames one by one, encodes them in batches, holds at most one batch."""

    def __init__(self, encoders: Encoders, five_points: NDArray[np.float32], faces: Sequence[int]) -> None:
        self._encoders, self._five_points, self._faces = encoders, five_points, frozenset(faces)
        self._idle = encoders.codec is None and encoders.image_encoder is None and not faces
        self._waiting: list[Frame] = []
        self._done = 0
        self._parts: dict[str, list[NDArray]] = {}
        if encoders.face_embedder is not None:
            self._parts["face_embeddings"] = [np.zeros((0, 2, encoders.face_embedder.dimension), np.float32)]

    def tee(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames unchanged, and encode them on the way."""
        for frame in frames:
            if not self._idle:
                self._waiting.append(frame)
                if len(self._waiting) == BATCH:
                    self._encode()
            yield frame

    def finish(self) -> Arrays:
        """Arrays by name, see `hia.data.store.clip.Clip`; call it after all frames have passed."""
        if self._waiting:
            self._encode()
        arrays = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        if "face_embeddings" in arrays:
            arrays["face_frames"] = np.array(sorted(self._faces), np.int64)
        return arrays

    @torch.inference_mode()
    def _encode(self) -> None:
        encoders, frames = self._encoders, np.stack(self._waiting)
        indices = range(self._done, self._done + len(frames))
        self._done, self._waiting = indices.stop, []
        images = to_tensor(frames).to(encoders.device)
        with _half_precision(encoders.device):
            self._add_latents(frames)
            if encoders.image_encoder is not None:
                both = [encoders.image_encoder(side)[:, 0] for side in (images, images.flip(-1))]
                self._add("image_tokens", torch.stack(both, dim=1), np.float16)
        chosen = [index for index in indices if index in self._faces]
        if encoders.face_embedder is not None and chosen:
            self._add_faces(encoders.face_embedder, images[[index - indices.start for index in chosen]], chosen)

    def _add_latents(self, frames: Frame) -> None:
        codec = self._encoders.codec
        if codec is None:
            return
        for width, height in self._encoders.latent_sizes:
            sized = to_tensor(np.stack([_resized_by_area(frame, width, height) for frame in frames]))
            images = sized.to(self._encoders.device)
            self._add(latents_name(width, height, False), codec.encode(images), np.float16)
            if self._encoders.mirrored_latents:
                self._add(latents_name(width, height, True), codec.encode(images.flip(-1)), np.float16)

    def _add_faces(self, embedder: FaceEmbedder, images: Tensor, chosen: Sequence[int]) -> None:
        """Add embeddings of faces and of their mirror images; there, left and right points are mirrored and swapped."""
        points = torch.from_numpy(self._five_points[list(chosen)]).to(images.device)
        mirrored = points[:, [1, 0, 2, 4, 3]].clone()
        mirrored[..., 0] = images.shape[-1] - 1 - mirrored[..., 0]
        both = [embedder(images, points), embedder(images.flip(-1), mirrored)]
        self._add("face_embeddings", torch.stack(both, dim=1), np.float32)

    def _add(self, name: str, values: Tensor, kind: type) -> None:
        self._parts.setdefault(name, []).append(values.float().cpu().numpy().astype(kind))


def load_encoders(config: Config, device: str = "cpu") -> Encoders:
    """Load the networks of the configuration. Raises MissingWeights or ValueError; the messages say how to fix it."""
    wanted = config.preprocess
    target = torch.device(device)
    codec = build_codec(config.codec).to(target) if wanted.latents else None
    source = config.pretrained.image_encoder
    image_encoder = load_image_encoder(source).to(target) if wanted.image_tokens and source else None
    name = config.face_embedder if wanted.face_embedding_every else None
    return Encoders(
        codec=codec,
        image_encoder=image_encoder,
        face_embedder=load_face_embedder(name).to(target) if name else None,
        latent_sizes=config.training_sizes if wanted.latents else (),
        mirrored_latents=config.samples.mirrors,
        face_every=max(1, wanted.face_embedding_every),
        device=target,
    )


def _resized_by_area(frame: Frame, width: int, height: int) -> Frame:
    """The frame at a stage's size, resized by pixel areas."""
    if frame.shape[:2] == (height, width):
        return frame
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _half_precision(device: torch.device) -> AbstractContextManager:
    """A context in which a GPU computes latents and tokens in 16 bits, the precision that they are kept in."""
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()


def _weights_hash(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
