"""LPIPS of frames, in the three ways in which it is reported: they differ by up to half, so each has its own name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hia.evaluation.image import require_comparable
from hia.evaluation.networks.lpips import Lpips, Trunk
from hia.evaluation.weights import Provenance, official_state, state_of_file
from hia.images import Frame
from hia.weights import load_strict

Perceptual = Literal["lpips_vgg_disco", "lpips_vgg", "lpips_alex"]
InputRange = Literal["unsigned", "signed"]
"""What the network is fed: pictures in [0, 1], as DisCo's code does by mistake, or in [−1, 1], as is meant."""

VARIANTS: Mapping[Perceptual, tuple[Trunk, InputRange]] = MappingProxyType(
    {"lpips_vgg_disco": ("vgg", "unsigned"), "lpips_vgg": ("vgg", "signed"), "lpips_alex": ("alex", "signed")}
)
# Smaller pictures leave nothing of the last layers.
LEAST_SIDE: Mapping[Trunk, int] = MappingProxyType({"alex": 31, "vgg": 16})


@dataclass(frozen=True, eq=False)
class PerceptualDistance:
    """One of the three, on a device."""

    metric: Perceptual
    network: Lpips
    provenance: Provenance

    @property
    def key(self) -> str:
        """The metric's name with published weights, else `distance[network]`."""
        return self.metric if self.provenance.known else f"distance[{self.provenance.network}]"

    @torch.no_grad()
    def __call__(self, reference: Frame, generated: Frame) -> NDArray[np.float64]:
        """Distances [N] of frames uint8 [N, H, W, 3], in their own size, one pair at a time.

        Raises ValueError as the measures of `hia.evaluation.image` do, and for frames too small for the network.
        """
        require_comparable(reference, generated)
        least = LEAST_SIDE[VARIANTS[self.metric][0]]
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
        return picture if VARIANTS[self.metric][1] == "unsigned" else 2 * picture - 1


def load_perceptual(
    metric: Perceptual, weights: str | Path | None = None, device: str = "cpu", download: bool = False
) -> PerceptualDistance:
    """LPIPS with its official weights, or those of the file `weights`; arguments and errors as for `load_extractor`."""
    trunk, input_range = VARIANTS[metric]
    network = Lpips(trunk)
    name: Literal["lpips_alex", "lpips_vgg"] = "lpips_alex" if trunk == "alex" else "lpips_vgg"
    state, provenance = official_state(name, download) if weights is None else state_of_file(name, weights)
    load_strict(network, state, " and ".join(provenance.files))
    return PerceptualDistance(metric, network.to(device), replace(provenance, variant=input_range))
