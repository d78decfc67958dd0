"""Identity of the person: cosine similarity of face embeddings (CSIM)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hia.conditions.regions import face_box, face_is_usable, five_points
from hia.config.metrics import figure_key, network_of
from hia.evaluation.scores import Figure, Figures, MetricInput, MetricUnavailable, mean_figure
from hia.evaluation.weights.digests import AlteredWeights
from hia.evaluation.weights.loading import Provenance
from hia.images import Frame, to_tensor
from hia.io.hashing import file_sha256
from hia.models.face import FaceEmbedder, load_face_embedder
from hia.pose.keypoints import KeypointSequence
from hia.weights.find import FACE_EMBEDDERS, find_weights

Points = NDArray[np.float32]

# InsightFace's recognition networks, by the SHA-256 of their files.
ARCFACE: Mapping[str, str] = MappingProxyType(
    {
        "w600k_r50.onnx": "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        "glintr100.onnx": "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    }
)
BATCH = 16


@dataclass(frozen=True, eq=False)
class Identity:
    """Cosine similarity of faces with a face embedder."""

    embedder: FaceEmbedder
    provenance: Provenance

    @property
    def key(self) -> str:
        """`csim` with InsightFace's own ArcFace, which the literature means, else `cosine[network]`."""
        return figure_key("csim", self.provenance.network, self.provenance.known)

    def measure(self, video: MetricInput) -> Figures:
        """The mean over frames with a usable face, and the share of such frames among those that count.

        The reference's own face is that of the first frame, even if this frame does not count.
        """
        pair, first_frame = video.whole, video.settings.first_frame
        if pair.keypoints is None:
            raise MetricUnavailable("there are no keypoints")
        cosines = self(pair.real, pair.generated, pair.keypoints, first_frame)
        if len(cosines) == 0:
            raise MetricUnavailable("no face is large enough and seen from the front")
        counted = len(pair) - first_frame
        return {self.key: mean_figure(cosines), "usable_faces": Figure(len(cosines) / counted, counted)}

    def __call__(
        self, reference: Frame, generated: Frame, keypoints: KeypointSequence, first_frame: int = 0
    ) -> NDArray[np.float64]:
        """Cosines [K] of the generated faces, where the true ones are usable, and the true video's first usable face.

        Frames uint8 [N, H, W, 3]; keypoints of the true video, by which both are aligned. Generated frames before
        `first_frame` do not count. K is 0 when none is usable.
        """
        faces = usable_faces(keypoints)
        places = {index: points for index, points in faces.items() if index >= first_frame}
        if not places:
            return np.zeros(0)
        first = min(faces)
        wanted = self._embeddings(reference[[first]], [faces[first]])
        made = self._embeddings(generated[list(places)], list(places.values()))
        return (made @ wanted.T)[:, 0].double().numpy()

    @torch.no_grad()
    def _embeddings(self, frames: Frame, points: list[Points]) -> Tensor:
        device = next(self.embedder.parameters()).device
        embeddings = []
        for first in range(0, len(frames), BATCH):
            images = to_tensor(frames[first : first + BATCH]).to(device)
            embeddings.append(
                self.embedder(images, torch.from_numpy(np.stack(points[first : first + BATCH])).to(device))
            )
        return torch.cat(embeddings).cpu()


def usable_faces(keypoints: KeypointSequence) -> dict[int, Points]:
    """Five points [5, 2] by frame, of the frames whose face is large enough and seen from the front enough."""
    usable = {}
    for index, (person, scores) in enumerate(zip(keypoints.keypoints, keypoints.scores, strict=True)):
        points = five_points(person, scores)
        box = face_box(person, scores, keypoints.width, keypoints.height)
        if points is not None and face_is_usable(points, box, keypoints.width):
            usable[index] = points
    return usable


def load_identity(name_or_path: str = "arcface", device: str = "cpu") -> Identity:
    """Load the metric with `arcface`, `mobilefacenet`, or a file's weights, as `load_face_embedder` finds them.

    Raises what that does, and AlteredWeights when InsightFace's files were found by name, but are not theirs.
    """
    names, hint = FACE_EMBEDDERS.get(name_or_path, ((name_or_path,), "give the path of a weight file"))
    file = find_weights(*names, hint=hint)
    digest = file_sha256(file)
    known = digest in ARCFACE.values()
    if name_or_path == "arcface" and not known:
        raise AlteredWeights(
            f"{file} is not InsightFace's file: expected sha256 {ARCFACE[Path(file).name]}, found {digest}. Delete it "
            f"and get it again: {hint}. Numbers of other weights are not called csim: give such a file explicitly"
        )
    embedder = load_face_embedder(str(file)).to(device)
    return Identity(embedder, Provenance(embedder.name, {str(file): digest}, known))


def load_csim(metric: str, weights: str | Path | None = None, device: str = "cpu", download: bool = False) -> Identity:
    """Load the metric like other networks' loaders do; these weights are never downloaded."""
    return load_identity(network_of(metric) if weights is None else str(weights), device)
