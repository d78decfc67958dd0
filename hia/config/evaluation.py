"""Settings of the evaluation after training; part of `hia.config.run.Config`."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from hia.config.metrics import METRICS
from hia.config.types import STRICT

if TYPE_CHECKING:
    MetricName = str
else:
    # pydantic names all of them when another one is given.
    MetricName = Literal[tuple(METRICS)]

# Selected by default on a CPU.
CHEAP: tuple[MetricName, ...] = tuple(metric.name for metric in METRICS.values() if metric.cheap)
# Measured in addition to any others, so that every two evaluations can be compared.
ALWAYS: tuple[MetricName, ...] = tuple(metric.name for metric in METRICS.values() if metric.always)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class EvaluationConfig:
    """Metrics and protocol of the pipeline's evaluation; the number of clips and frames is part of `training`.

    metrics: by name, their weights must be there; None takes all that a CPU can do in minutes, without those whose
    weights cannot be found. weights: other files than the official ones, as METRIC=FILE, e.g. `csim=mobilefacenet`;
    their results have other names. default_sharpness: also animate with the model's default sharpness, as for a motion
    whose true sharpness is unknown. first_frame: frames before it do not count; frame 0 is the reference itself.
    stride: frames from one clip of 16 to the next one in video distances, None for the whole video as one clip. colour:
    grey level of the padding to squares.
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
        """Names of the metrics that are measured, as far as their weights are there."""
        return tuple(dict.fromkeys((*ALWAYS, *(CHEAP if self.metrics is None else self.metrics))))


def own_weights(pairs: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Weight files by metric, from METRIC=FILE. Raises ValueError for anything else, and for a metric named twice."""
    files: dict[str, str] = {}
    for pair in pairs:
        metric, equals, file = (part.strip() for part in pair.partition("="))
        if not (metric and equals and file) or metric in files:
            raise ValueError(f"weights {pair!r}: give METRIC=FILE, such as csim=mobilefacenet, once for each metric")
        files[metric] = file
    return files
