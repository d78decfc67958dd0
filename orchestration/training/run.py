"""The description of a training run that its processes share, and the error that ends it."""

from dataclasses import dataclass, fields
from pathlib import Path

from hia.config import Config, Stage, Stages
from orchestration.chain.stage import ExplainedFailure

WEIGHTS = "weights"
RAY_FOLDER = "ray"  # Ray Train's own files, in the stage's folder
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"


class TrainingFailed(ExplainedFailure):
    """A failure of training that a restart would not mend; the message says why."""


@dataclass(frozen=True)
class TrainingRun:
    """One stage of one run; the same in all of its processes.

    stage: its name; store: the clip store; folder: the stage's own, which all processes see; weights: folders of the
    earlier stages' weights, in order; fingerprint: tells checkpoints of this run from those of others.
    """

    config: Config
    stage: str
    store: str
    folder: str
    weights: tuple[str, ...] = ()
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.stage not in {field.name for field in fields(Stages)}:
            raise ValueError(f"unknown stage {self.stage!r}")

    @property
    def settings(self) -> Stage:
        """Settings of the stage."""
        return getattr(self.config.stages, self.stage)

    @property
    def path(self) -> Path:
        """The stage's folder."""
        return Path(self.folder)
