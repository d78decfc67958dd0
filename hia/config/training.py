"""Settings of optimizer, workers and checkpoints, the same for all stages; and of the generated dancers."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from hia.config.types import STRICT

Decay = Annotated[float, Field(ge=0, lt=1)]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule, the same for all stages; a stage may have its own `learning_rate`.

    warmup_steps: linear, at most a tenth of a stage's iterations. decay: of the learning rate after that; `cosine` ends
    at `final_share` of it. clip_norm: of the gradient. ema_decay: keep a moving average of the weights, which the stage
    writes as its result; None writes the weights themselves.
    """

    learning_rate: PositiveFloat = 1e-5
    warmup_steps: NonNegativeInt = 500
    decay: Literal["constant", "cosine"] = "constant"
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    clip_norm: PositiveFloat = 1.0
    ema_decay: Decay | None = None


@dataclass(config=STRICT, frozen=True, kw_only=True)
class TrainingConfig:
    """Workers, DeepSpeed, checkpoints, logging and validation during training.

    workers, gpus_per_worker, cpus_per_worker, accelerator_type: as in Ray; a worker has one GPU or none.
    zero_stage: DeepSpeed's ZeRO, 0 to 3. precision: `auto` is bf16 on GPUs, float32 without.
    offload_optimizer: keep the optimizer's state in the host's memory (ZeRO 1 to 3, on GPUs).
    checkpoint_every: steps between checkpoints, of which `num_to_keep` stay. most_failures: restarts of lost workers
    per stage before giving up. log_every: steps from one line of metrics to the next.
    validate_every: steps between validations on held-out clips: the loss of `validation_samples` samples in each of
    `validation_bins` ranges of timesteps, and `preview_clips` animated clips of `preview_frames` frames; 0: never.
    evaluation_clips, evaluation_frames: of the evaluation after the last stage, at most.
    timeout_minutes: how long one worker waits for the others.
    """

    workers: PositiveInt = 1
    gpus_per_worker: Literal[0, 1] = 0
    cpus_per_worker: PositiveInt = 1
    accelerator_type: str | None = None
    zero_stage: Literal[0, 1, 2, 3] = 2
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    offload_optimizer: bool = False
    gradient_checkpointing: bool = False
    checkpoint_every: PositiveInt = 500
    num_to_keep: PositiveInt = 2
    most_failures: NonNegativeInt = 3
    log_every: PositiveInt = 10
    validate_every: NonNegativeInt = 1000
    validation_samples: PositiveInt = 32
    validation_bins: PositiveInt = 5
    preview_clips: NonNegativeInt = 2
    preview_frames: PositiveInt = 24
    evaluation_clips: PositiveInt = 8
    evaluation_frames: PositiveInt = 24
    timeout_minutes: PositiveFloat = 60

    def __post_init__(self) -> None:
        if self.accelerator_type and not self.gpus_per_worker:
            raise ValueError(f"accelerator_type is {self.accelerator_type}, but gpus_per_worker is 0: set it to 1")
        if self.offload_optimizer and (not self.gpus_per_worker or not self.zero_stage):
            raise ValueError("offload_optimizer needs gpus_per_worker 1 and a zero_stage of 1, 2 or 3")

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """Type of the weights in the forward and backward pass."""
        if self.precision == "auto":
            return "bfloat16" if self.gpus_per_worker else "float32"
        return self.precision


@dataclass(config=STRICT, frozen=True, kw_only=True)
class DancersConfig:
    """The generated dancers that a run without `data` trains on; the size is the run's."""

    count: Annotated[int, Field(ge=2)] = 12
    seconds: PositiveFloat = 3.0
    fps: PositiveFloat = 30.0
    seed: NonNegativeInt = 0
