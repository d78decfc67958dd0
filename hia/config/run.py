"""The configuration of one run: all sections, and the checks between them."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from hia.config.data import PreprocessConfig, SamplesConfig
from hia.config.evaluation import EvaluationConfig
from hia.config.model import (
    CodecConfig,
    ConditionsConfig,
    NetworkConfig,
    PretrainedConfig,
    SamplingConfig,
    ScheduleConfig,
)
from hia.config.stages import Stages
from hia.config.training import DancersConfig, OptimizerConfig, TrainingConfig
from hia.config.types import STRICT, PathOrName

Pixels = Annotated[int, Field(gt=0, le=8192)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Config:
    """One run. `width` and `height` are the full training and output size in pixels.

    ablation: name of the change, in files of ablations and baselines; `preset` is then the preset that they change.
    """

    preset: str
    ablation: str | None = None
    width: Pixels = 512
    height: Pixels = 896
    seed: Seed = 0
    storage: str = "./runs"
    data: str | None = None
    network: NetworkConfig = NetworkConfig()
    codec: CodecConfig = CodecConfig()
    pretrained: PretrainedConfig = PretrainedConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    conditions: ConditionsConfig = ConditionsConfig()
    face_embedder: PathOrName = "arcface"
    preprocess: PreprocessConfig = PreprocessConfig()
    samples: SamplesConfig = SamplesConfig()
    stages: Stages = Stages()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    dancers: DancersConfig = DancersConfig()
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_stages()
        self._check_sampling()

    def _check_sizes(self) -> None:
        step = self.codec.pixels_per_latent
        scales = {"the output": 1.0} | {
            f"stage {stage.name}": stage.resolution_scale for stage in self.stages.in_order()
        }
        for use, scale in scales.items():
            for key in ("width", "height"):
                size = getattr(self, key) * scale
                if size < step or size % step:
                    raise ValueError(
                        f"{key} {getattr(self, key)} × {scale:g} (for {use}) = {size:g} is not a multiple of {step}, "
                        "the codec's pixels per latent"
                    )

    def _check_stages(self) -> None:
        for stage in self.stages.in_order():
            if stage.timesteps[1] > self.schedule.num_train_timesteps:
                raise ValueError(
                    f"stages.{stage.name}.timesteps end at {stage.timesteps[1]}, but there are only "
                    f"{self.schedule.num_train_timesteps} (schedule.num_train_timesteps)"
                )
            if stage.frames > self.network.motion_max_frames:
                raise ValueError(
                    f"stages.{stage.name}.frames is {stage.frames}, but network.motion_max_frames only "
                    f"{self.network.motion_max_frames}"
                )
            if stage.losses.identity and self.face_embedder is None:
                raise ValueError(
                    f"stages.{stage.name}.losses.identity is {stage.losses.identity}: name a face_embedder "
                    "(arcface or mobilefacenet), or set the weight to 0"
                )
            if strange := {"controlnet", "pose_guider"} - {self.network.pose_branch} & set(stage.trains):
                raise ValueError(
                    f"stages.{stage.name}.trains names {strange.pop()}, but network.pose_branch is "
                    f"{self.network.pose_branch}: name that, or neither"
                )
            stage.accumulation(self.training.workers)
        if self.optimizer.ema_decay is not None and self.training.zero_stage == 3:
            raise ValueError("optimizer.ema_decay needs whole weights on a worker: a training.zero_stage of 0, 1 or 2")

    def _check_sampling(self) -> None:
        if self.sampling.window > self.network.motion_max_frames:
            raise ValueError(
                f"sampling.window is {self.sampling.window}, but network.motion_max_frames only "
                f"{self.network.motion_max_frames}"
            )
        if self.sampling.steps > self.schedule.num_train_timesteps:
            raise ValueError(
                f"sampling.steps is {self.sampling.steps}, but there are only {self.schedule.num_train_timesteps} "
                "timesteps (schedule.num_train_timesteps)"
            )

    @property
    def training_sizes(self) -> tuple[tuple[int, int], ...]:
        """Sizes (width, height) px of the frames that the stages train on, largest first."""
        scales = {stage.resolution_scale for stage in self.stages.in_order()} or {1.0}
        return tuple((round(self.width * scale), round(self.height * scale)) for scale in sorted(scales, reverse=True))

    @property
    def gamma(self) -> float:
        """SNR factor γ: as configured, else the pixel-count rule 512·512 / (width·height), at most 1."""
        if self.schedule.gamma is not None:
            return self.schedule.gamma
        return min(1.0, 512 * 512 / (self.width * self.height))
