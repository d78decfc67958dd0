"""Execution of a table's rows, one chain after the other; stages that rows have in common are run once."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from experiments.paper_tables.spec import Row
from hia.config import Config
from hia.io.hashing import json_digest
from orchestration.chain import Chain, ChainStage, Plan, plan, stages_up_to
from orchestration.chain.execute import failure_reason, final_status
from orchestration.names import CONTENT_HASHES, EVALUATE
from orchestration.pipeline import StagesOf, join_cluster, tags
from orchestration.stages.content_hashes import ContentHashes

if TYPE_CHECKING:
    from orchestration.tracking import Run, Tracking


@dataclass(frozen=True)
class Measured:
    """Result of a row. metrics: of the evaluation; reason: why there are none; ran: the stages not reused."""

    row: Row
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    ran: tuple[str, ...] = ()
    seconds: float = 0.0
    run_id: str | None = None


def row_stages(config: Config, stages_of: StagesOf) -> tuple[ChainStage, ...]:
    """The chain up to the evaluation. Raises MissingWeights."""
    return stages_up_to(stages_of(config, ContentHashes(Path(config.storage) / CONTENT_HASHES)), EVALUATE)


def plans(configs: Sequence[Config], stages_of: StagesOf) -> list[Plan]:
    """Plan each row as things are now; an earlier row may leave less to a later one."""
    return [plan(row_stages(config, stages_of), Path(config.storage), None) for config in configs]


@dataclass(frozen=True)
class Rows:
    """Executor of rows. parent: the table's tracking run; marks: further tags of the rows' runs."""

    tracking: "Tracking"
    parent: "Run"
    marks: Mapping[str, str]
    stages_of: StagesOf
    quiet: bool

    def run(self, rows: Sequence[Row], configs: Sequence[Config]) -> list[Measured]:
        """Run all rows. A failure is printed, and the next row is tried."""
        measured = []
        with ExitStack() as cluster:
            for number, (row, config) in enumerate(zip(rows, configs, strict=True), start=1):
                if not self.quiet:
                    tqdm.write(f"--- row {number} of {len(rows)}: {row.name}")
                measured.append(self._run(row, config, cluster))
        return measured

    def _run(self, row: Row, config: Config, cluster: ExitStack) -> Measured:
        began = time.monotonic()
        values = asdict(config)
        marks = {**self.marks, **tags(config)}
        run = self.tracking.start_trial(
            self.parent.id, row.name, f"table {self.marks['table']}", json_digest(row.name, values), values, marks
        )
        try:
            with final_status(run):
                measured = self._measure(row, config, run, marks, cluster)
        except Exception as error:
            tqdm.write(f"row {row.name!r} failed: {failure_reason(error)}")
            measured = Measured(row, reason=failure_reason(error), run_id=run.id)
        return replace(measured, seconds=time.monotonic() - began)

    def _measure(self, row: Row, config: Config, run: "Run", marks: Mapping[str, str], cluster: ExitStack) -> Measured:
        chain = Chain(
            row_stages(config, self.stages_of),
            config,
            Path(config.storage),
            self.tracking,
            tags=marks,
            prepare=lambda: join_cluster(cluster, config),
            say=_silent if self.quiet else tqdm.write,
            show=not self.quiet,
        )
        executed = chain.run(chain.plan(), run)
        run.note_stages(executed)
        run.log_metrics(executed[-1].metrics)
        ran = tuple(one.name for one in executed if one.action != "reuse")
        return Measured(row, executed[-1].metrics, ran=ran, run_id=run.id)


def _silent(_line: str) -> None:
    """Discard a line: the `say` of --quiet."""
