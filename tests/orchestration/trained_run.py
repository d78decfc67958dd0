"""The results of a training without training: a store of dancers, and random weights in the stages' folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hia.config import Config, load_config
from hia.io.files import write_json
from hia.models.animator import Animator
from hia.models.build import build_animator
from hia.models.parts import part_parameters
from orchestration.chain.stage import StageRun, store_of
from orchestration.names import STORE_NOTE
from orchestration.tracking.journal import Artifact, JournalWriter, read_new
from orchestration.training.run import WEIGHTS
from orchestration.training.weights import write_weights
from tests.conftest import TINY_CONFIG

FAST = ("sampling.steps=2", "sampling.window=4", "sampling.overlap=1", "sampling.guidance_scale=1")


@dataclass(frozen=True)
class Trained:
    """A storage folder in which all stages up to the training are done. inputs: their folders by name."""

    storage: Path
    config: Config
    inputs: Mapping[str, Path]

    @property
    def store(self) -> str:
        """Folder of the clip store."""
        return store_of(self.inputs["preprocess"])

    def stage_run(self, name: str, config: Config | None = None, run: Any = None, **inputs: Path) -> StageRun:
        """The arguments of a stage of this name, in a new folder. inputs: folders of stages after the training."""
        folder = self.storage / name
        folder.mkdir(parents=True, exist_ok=True)
        journal = JournalWriter(folder / "journal.jsonl")
        given = dict(self.inputs) | inputs
        return StageRun(folder, given, journal, run, config or self.config, fingerprint=f"{name}-fingerprint")


def tiny_config(*overrides: str) -> Config:
    """The tests' preset, sampled in two steps."""
    return load_config(TINY_CONFIG, [*FAST, *overrides])


def trained(storage: Path, store: Path, config: Config) -> Trained:
    """Weights of every stage, random, none of them zero, and a note of where the store is."""
    (storage / "preprocess").mkdir(parents=True)
    write_json(storage / "preprocess" / STORE_NOTE, {"location": str(store)})
    animator = random_animator(config)
    inputs = {"preprocess": storage / "preprocess"}
    for stage in config.stages.in_order():
        parts = {part: dict(part_parameters(animator, part)) for part in stage.trains}
        inputs[stage.name] = storage / stage.name
        inputs[stage.name].mkdir()
        write_weights(inputs[stage.name] / WEIGHTS, {name: _detached(weights) for name, weights in parts.items()})
    return Trained(storage, config, inputs)


def random_animator(config: Config) -> Animator:
    """An animator none of whose parts is what `build_animator` makes."""
    animator, _ = build_animator(config, motion=True)
    generator = torch.Generator().manual_seed(5)
    for parameter in animator.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return animator


def artifacts(run: StageRun) -> dict[str, str]:
    """The files that a stage has logged, and the folder of each among the artifacts."""
    entries, _ = read_new(run.folder / "journal.jsonl")
    return {entry.path: entry.under for entry in entries if isinstance(entry, Artifact)}


def _detached(weights: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in weights.items()}
