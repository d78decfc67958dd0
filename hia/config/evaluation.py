"""What is measured after training; part of `hia.config.run.Config`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")

MetricName = Literal[
    "psnr",
    "ssim",
    "l1",
    "l1_disco",
    "regions",
    "dtssd",
    "flicker",
    "warping_error",
    "hand_sharpness",
    "lpips_vgg_disco",
    "lpips_vgg",
    "lpips_alex",
    "csim",
    "fid",
    "fid_vid",
    "fvd",
    "fvd_videogpt",
    "fvd_tensorflow",
]
"""All that can be asked for, see `hia.evaluation.metrics`; repeated here, where no network may be imported."""

# LPIPS with VGG takes 5 s for a frame of 512×896 on a CPU; the other networks take less than that for a clip.
CHEAP: tuple[MetricName, ...] = (
    *("psnr", "ssim", "l1", "l1_disco", "regions", "dtssd", "flicker", "warping_error", "hand_sharpness"),
    *("lpips_alex", "csim", "fid", "fid_vid", "fvd"),
)
# Without these, nothing could be said of a model: they are measured whatever else is asked for.
ALWAYS: tuple[MetricName, ...] = ("psnr", "ssim", "l1", "l1_disco")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class EvaluationConfig:
    """What the pipeline's evaluation measures; how many clips and frames is said by `training`.

    metrics: by name, whose weights must be there; None takes what a CPU can do in minutes, without those whose weights
    cannot be found. weights: other files than the official ones, as METRIC=FILE, e.g. `csim=mobilefacenet`; their
    results go by other names. default_sharpness: also animate with the sharpness that is used when nobody knows the
    truth. first_frame: frames before it do not count; frame 0 is the reference itself. stride: frames from one clip of
    16 to the next one in video distances, None for the whole video as one clip. colour: grey level of the padding to
    squares.
    """

    metrics: tuple[MetricName, ...] | None = None
    weights: tuple[str, ...] = ()
    default_sharpness: bool = True
    first_frame: NonNegativeInt = 1
    stride: PositiveInt | None = 16
    colour: Annotated[int, Field(ge=0, le=255)] = 0

    def __post_init__(self) -> None:
        own_weights(self.weights)

    @property
    def names(self) -> tuple[str, ...]:
        """What is measured if its weights are there."""
        return tuple(dict.fromkeys((*ALWAYS, *(CHEAP if self.metrics is None else self.metrics))))


def own_weights(pairs: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Files by metric, of METRIC=FILE. Raises ValueError for anything else, and for a metric named twice."""
    files: dict[str, str] = {}
    for pair in pairs:
        metric, equals, file = (part.strip() for part in pair.partition("="))
        if not (metric and equals and file) or metric in files:
            raise ValueError(f"weights {pair!r}: give METRIC=FILE, such as csim=mobilefacenet, once for each metric")
        files[metric] = file
    return files
