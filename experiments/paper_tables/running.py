"""The rows of a table, one chain after the other, as far as they are not done: equal stages are run once."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from experiments.paper_tables.spec import Row
from hia.config import Config
from orchestration.chain import Chain, ChainStage, Plan, plan
from orchestration.chain.execution import ending, reason
from orchestration.chain.stage import digest
from orchestration.contents import Contents
from orchestration.pipeline import join_cluster, tags
from orchestration.stages import chain_stages
from orchestration.sweeps.work import judged_stages

if TYPE_CHECKING:
    from orchestration.tracking import Run, Tracking


@dataclass(frozen=True)
class Measured:
    """A row that was tried. metrics: of the evaluation; reason: why there are none; ran: the stages not reused."""

    row: Row
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    ran: tuple[str, ...] = ()
    seconds: float = 0.0
    run_id: str | None = None


def stages_of_row(config: Config) -> tuple[ChainStage, ...]:
    """The chain up to the evaluation. Raises MissingWeights."""
    contents = Contents(Path(config.storage) / ".contents.json")
    return judged_stages(chain_stages(config, contents))


def plans(configs: Sequence[Config]) -> list[Plan]:
    """What each row would run as things are now; an earlier row may leave less to a later one."""
    return [plan(stages_of_row(config), Path(config.storage), None) for config in configs]


def run_rows(
    rows: Sequence[Row],
    configs: Sequence[Config],
    tracking: "Tracking",
    parent: "Run",
    marks: Mapping[str, str],
    quiet: bool,
) -> list[Measured]:
    """All rows. One that fails is told of, and the next one is tried. marks: further tags of all rows' runs."""
    with ExitStack() as cluster:
        measured = []
        for number, (row, config) in enumerate(zip(rows, configs, strict=True), start=1):
            tqdm.write(f"--- row {number} of {len(rows)}: {row.name}")
            measured.append(_Running(row, config, tracking, parent, cluster, marks, quiet).run())
        return measured


@dataclass(frozen=True)
class _Running:
    row: Row
    config: Config
    tracking: "Tracking"
    parent: "Run"
    cluster: ExitStack
    marks: Mapping[str, str]
    quiet: bool

    def run(self) -> Measured:
        began = time.monotonic()
        marks = {**self.marks, **tags(self.config)}
        name, identity = self.row.name, digest(self.row.name, asdict(self.config))
        run = self.tracking.start_trial(self.parent.id, name, "", identity, asdict(self.config), marks)
        try:
            with ending(run):
                measured = self._measure(run, marks)
        except Exception as error:
            tqdm.write(f"row {name!r} failed: {reason(error)}")
            return Measured(self.row, reason=reason(error), run_id=run.id)
        return replace(measured, seconds=time.monotonic() - began)

    def _measure(self, run: "Run", marks: Mapping[str, str]) -> Measured:
        chain = Chain(
            stages_of_row(self.config),
            self.config,
            Path(self.config.storage),
            self.tracking,
            tags=marks,
            prepare=lambda: join_cluster(self.cluster, self.config),
            say=(lambda line: None) if self.quiet else tqdm.write,
            show=not self.quiet,
        )
        executed = chain.run(chain.plan(), run)
        run.note_stages(executed)
        metrics = executed[-1].metrics
        run.log_metrics(metrics)
        ran = tuple(one.name for one in executed if one.action != "reuse")
        return Measured(self.row, metrics, ran=ran, run_id=run.id)
