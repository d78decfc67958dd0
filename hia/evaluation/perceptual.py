"""LPIPS of frames, in the three ways in which it is reported: they differ by up to half, so each has its own name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hia.config.metrics import METRICS, figure_key, network_of
from hia.evaluation.image import require_comparable
from hia.evaluation.networks.lpips import Lpips, Trunk
from hia.evaluation.scores import Figures, MetricInput, mean_figure
from hia.evaluation.weights.loading import Provenance, official_state, state_of_file
from hia.images import Frame
from hia.weights.load import load_strict

# By network: smaller pictures leave nothing of the last layers.
TRUNKS: Mapping[str, Trunk] = MappingProxyType({"lpips_vgg": "vgg", "lpips_alex": "alex"})
LEAST_SIDE: Mapping[Trunk, int] = MappingProxyType({"alex": 31, "vgg": 16})


@dataclass(frozen=True, eq=False)
class PerceptualDistance:
    """LPIPS on a device. provenance.variant: the range of its input, by which variants of one network differ.

    `unsigned`: pictures in [0, 1], as DisCo's code feeds them by mistake; `signed`: in [−1, 1], as is meant.
    """

    metric: str
    network: Lpips
    provenance: Provenance

    @property
    def key(self) -> str:
        """The metric's name with published weights, else `distance[network]`."""
        return figure_key(self.metric, self.provenance.network, self.provenance.known)

    def measure(self, video: MetricInput) -> Figures:
        """The mean over frames."""
        return {self.key: mean_figure(self(video.counted.real, video.counted.generated))}

    @torch.no_grad()
    def __call__(self, reference: Frame, generated: Frame) -> NDArray[np.float64]:
        """Distances [N] of frames uint8 [N, H, W, 3], in their own size, one pair at a time.

        Raises ValueError as the measures of `hia.evaluation.image` do, and for frames too small for the network.
        """
        require_comparable(reference, generated)
        least = LEAST_SIDE[self.network.trunk]
        if min(reference.shape[1:3]) < least:
            raise ValueError(
                f"{self.metric} needs frames of at least {least}×{least} px, not "
                f"{reference.shape[2]}×{reference.shape[1]}"
            )
        pairs = zip(reference, generated, strict=True)
        return np.array([self.network(self._input(one), self._input(other)).item() for one, other in pairs])

    def _input(self, frame: NDArray[np.uint8]) -> Tensor:
        device = next(self.network.parameters()).device
        picture = torch.from_numpy(np.array(frame)).movedim(-1, 0)[None].float().to(device) / 255
        return picture if self.provenance.variant == "unsigned" else 2 * picture - 1


def load_perceptual(
    metric: str, weights: str | Path | None = None, device: str = "cpu", download: bool = False
) -> PerceptualDistance:
    """LPIPS with its official weights, or those of the file `weights`; arguments and errors as for `load_extractor`."""
    name = network_of(metric)
    network = Lpips(TRUNKS[name])
    state, provenance = official_state(name, download) if weights is None else state_of_file(name, weights)
    load_strict(network, state, " and ".join(provenance.files))
    return PerceptualDistance(metric, network.to(device), replace(provenance, variant=METRICS[metric].variant))
