"""A chain of toy stages in a temporary storage."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hia.config import Config
from orchestration.chain import Chain, ChainStage, Executed, Plan, Selection
from orchestration.chain.execute import final_status
from orchestration.tracking import Tracking
from tests.orchestration.toy_chain import toy_stages

NAMES = ("numbers", "steps", "report", "listed")


@dataclass
class Toy:
    """A toy chain in a folder of its own; lines: its progress."""

    folder: Path
    configure: Callable[..., Config]
    tracking: Tracking
    lines: list[str] = field(default_factory=list)

    def stages(self, *overrides: str) -> Sequence[ChainStage]:
        return toy_stages(self.config(*overrides))

    def config(self, *overrides: str) -> Config:
        return self.configure(f"preprocess.test_list={self.folder / 'numbers.txt'}", *overrides)

    def chain(self, *overrides: str) -> Chain:
        config = self.config(*overrides)
        return Chain(toy_stages(config), config, self.folder / "runs", self.tracking, say=self.lines.append)

    def plan(self, *overrides: str, anew: str | None = None, only: str | None = None) -> Plan:
        return self.chain(*overrides).plan(Selection(anew, only))

    def run(self, *overrides: str, anew: str | None = None, only: str | None = None) -> tuple[Executed, ...]:
        chain = self.chain(*overrides)
        planned = chain.plan(Selection(anew, only))
        parent = self.tracking.start_pipeline(chain.fingerprint, dataclasses.asdict(chain.config), {})
        with final_status(parent):
            return chain.run(planned, parent)

    def fails(self, stage: str, text: str) -> None:
        (self.folder / f"{stage}.fails").write_text(text)

    def works_again(self, stage: str) -> None:
        (self.folder / f"{stage}.fails").unlink()


def actions(planned: Plan | tuple[Executed, ...]) -> list[str]:
    return [one.action for one in planned]


def why(planned: Plan, stage: str) -> str:
    return next(one.why for one in planned if one.stage.name == stage)


def folder_of(executed: tuple[Executed, ...], stage: str) -> Path:
    return next(one.folder for one in executed if one.name == stage)
