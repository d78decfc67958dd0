"""Runs over a store of tiny generated dancers, and a journal in memory."""

from collections.abc import Mapping
from pathlib import Path

from hia.config import load_config
from orchestration.training.run import TrainingRun

TINY = Path(__file__).resolve().parents[2] / "tiny.yaml"

SMALLEST = (
    *(
        "width=32",
        "height=64",
        "preprocess.test_share=0.3",
        "optimizer.learning_rate=0.001",
        "optimizer.warmup_steps=0",
    ),
    *("network.block_out_channels=[32,32]", "network.attention_levels=[true,true]", "network.cross_attention_dim=16"),
    *("stages.spatial.iterations=6", "stages.temporal_half.frames=4", "stages.temporal_full.frames=4"),
)


def tiny_run(
    store: Path,
    folder: Path,
    *overrides: str,
    stage: str = "spatial",
    name: str = "stage",
    weights: tuple[str, ...] = (),
) -> TrainingRun:
    """A stage over the store, in the folder's subfolder `name`."""
    (folder / name).mkdir(exist_ok=True)
    config = load_config(TINY, [*SMALLEST, *overrides])
    return TrainingRun(config, stage, str(store), str(folder / name), weights, fingerprint="tests")


class Notes:
    """A journal in memory. `dies_at`: the step whose values it cannot take, as if the process were killed there."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.files: list[str] = []
        self.dies_at = dies_at

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.dies_at:
            raise Killed
        self.lines.append((step, dict(values)))

    def artifact(self, path_in_stage_folder: str, under: str) -> None:
        self.files.append(path_in_stage_folder)

    def losses(self) -> list[float]:
        return [values["loss"] for _, values in self.lines if "loss" in values]


class Killed(BaseException):
    """The end of a process, from within."""
