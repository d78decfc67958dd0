"""The four training stages as data (paper sec. 3.3 and A.5): no code depends on a stage's name."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Literal

from pydantic.dataclasses import dataclass

from hia.config.types import STRICT

Part = Literal["appearance_encoder", "controlnet", "pose_guider", "unet", "motion"]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class LossWeights:
    """Weight of each term in a stage's loss; a term of weight 0 is not computed."""

    noise: float = 1.0
    face: float = 0.0
    hand: float = 0.0
    identity: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < float("inf"):
                raise ValueError(f"{field.name} must be a number of at least 0, not {getattr(self, field.name)}")

    @property
    def regional(self) -> bool:
        """True if a term is computed on the decoded image."""
        return bool(self.face or self.hand or self.identity)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Stage:
    """One stage of training.

    trains: the parts whose weights change; all others are frozen.
    frames: 1 for image pairs, more for clips; `frame_stride` is the drawn range, at 30 fps.
    resolution_scale: share of the full width and height.
    timesteps: half-open range from which t is drawn uniformly.
    static_clip_probability: share of clips that are one frame repeated (sec. 3.3, progressive training).
    condition_dropout: share of samples without reference, control and image token (for eq. 4's null branch); dropped:
    `all` of these, or only what comes from the `reference`, for guidance of that kind (`sampling.guidance`).
    iterations: optimizer steps; 0 leaves the stage out.
    global_batch_size: samples per optimizer step, over all workers; micro_batch_size: in one forward pass of a worker.
    What is left between the two is accumulated.
    learning_rate: None takes the optimizer's.
    """

    name: str
    trains: tuple[Part, ...]
    iterations: int
    frames: int = 1
    frame_stride: tuple[int, int] = (1, 1)
    resolution_scale: float = 1.0
    timesteps: tuple[int, int] = (0, 1000)
    losses: LossWeights = LossWeights()
    static_clip_probability: float = 0.0
    condition_dropout: float = 0.1
    dropped: Literal["all", "reference"] = "all"
    global_batch_size: int = 32
    micro_batch_size: int = 1
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if not self.trains:
            raise ValueError(f"stage {self.name}: trains is empty; name at least one part")
        if ("motion" in self.trains) != (self.frames > 1):
            raise ValueError(
                f"stage {self.name}: frames is {self.frames} and trains {self.trains}; clips (frames ≥ 2) and motion "
                "layers belong together"
            )
        first, end = self.timesteps
        if not 0 <= first < end:
            raise ValueError(f"stage {self.name}: timesteps must be a range [first, end) with 0 ≤ first < end")
        shortest, longest = self.frame_stride
        if not 1 <= shortest <= longest:
            raise ValueError(f"stage {self.name}: frame_stride must be [least, most] with 1 ≤ least ≤ most")
        for key in ("static_clip_probability", "condition_dropout"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"stage {self.name}: {key} must lie in [0, 1], not {getattr(self, key)}")
        if not 0 < self.resolution_scale <= 1:
            raise ValueError(f"stage {self.name}: resolution_scale must lie in (0, 1], not {self.resolution_scale}")
        if self.iterations < 0 or self.global_batch_size < 1 or self.frames < 1:
            raise ValueError(f"stage {self.name}: iterations ≥ 0, global_batch_size ≥ 1 and frames ≥ 1 are needed")
        if self.micro_batch_size < 1 or self.global_batch_size % self.micro_batch_size:
            raise ValueError(
                f"stage {self.name}: global_batch_size {self.global_batch_size} is not a multiple of micro_batch_size "
                f"{self.micro_batch_size}"
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"stage {self.name}: learning_rate must be above 0, not {self.learning_rate}")

    def accumulation(self, workers: int) -> int:
        """Micro-batches of one worker in an optimizer step. Raises ValueError when they cannot be divided evenly."""
        micro_batches = self.global_batch_size // self.micro_batch_size
        if micro_batches % workers:
            raise ValueError(
                f"stage {self.name}: a step has {micro_batches} micro-batches (global_batch_size "
                f"{self.global_batch_size} / micro_batch_size {self.micro_batch_size}), which {workers} workers cannot "
                "share evenly: change one of the three"
            )
        return micro_batches // workers


SPATIAL = Stage(name="spatial", trains=("appearance_encoder", "controlnet", "unet"), iterations=35_000)

REGIONAL = Stage(
    name="regional",
    trains=("appearance_encoder",),
    iterations=4_000,
    timesteps=(0, 125),
    losses=LossWeights(noise=1.0, face=1.0, hand=1.0, identity=0.1),
    condition_dropout=0.0,  # a dropped sample does not read the appearance encoder, all that this stage trains
)

TEMPORAL_HALF = Stage(
    name="temporal_half",
    trains=("motion",),
    iterations=20_000,
    frames=16,
    frame_stride=(2, 4),
    resolution_scale=0.5,
    global_batch_size=8,
)

TEMPORAL_FULL = Stage(
    name="temporal_full",
    trains=("motion",),
    iterations=1_000,
    frames=16,
    frame_stride=(2, 4),
    static_clip_probability=0.2,
    global_batch_size=8,
)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Stages:
    """The recipe: four stages that always run in this order."""

    spatial: Stage = SPATIAL
    regional: Stage = REGIONAL
    temporal_half: Stage = TEMPORAL_HALF
    temporal_full: Stage = TEMPORAL_FULL

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name).name != field.name:
                raise ValueError(f"stages.{field.name}.name must be {field.name!r}")

    def in_order(self) -> Iterator[Stage]:
        """The stages that have iterations, first to last."""
        return (stage for field in fields(self) if (stage := getattr(self, field.name)).iterations)
