"""A measured table in the paper's layout: for each row our figures, and below them the paper's."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.paper_tables.running import Measured
from experiments.paper_tables.spec import SMOKE, Dataset
from hia.config import Config
from hia.config.metrics import FIGURES
from orchestration.chain.execute import format_duration
from orchestration.pipeline import table
from orchestration.tracking.journal import TRAIN_PREFIX
from orchestration.tracking.runs import table as markdown_table

# Columns of the paper: the figures that may stand there, the first that was measured; and how they are written.
COLUMNS: Sequence[tuple[tuple[str, ...], str]] = (
    (("l1_disco",), ".2e"),
    (("psnr",), ".2f"),
    (("ssim",), ".3f"),
    (("lpips_vgg_disco", "lpips_vgg", "lpips_alex"), ".4f"),
    (("fid",), ".2f"),
    (("fid_vid",), ".2f"),
    (("fvd",), ".2f"),
)
WHY = {
    "humandance": "its dataset HumanDance is not public",
    "tiktok": "which 41 videos it was tested on is not public",
}
MISSING = "–"


@dataclass(frozen=True)
class MeasuredTable:
    """number: of the paper's table; config: the base of all rows; measured: the rows in order."""

    number: int
    title: str
    dataset: Dataset
    config: Config
    measured: Sequence[Measured]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Metric and format of each of the paper's columns."""
        known = {name for one in self.measured for name in _plain(one.metrics)}
        return [(next((name for name in names if name in known), names[0]), form) for names, form in COLUMNS]

    def notes(self) -> list[str]:
        """Notes below the table."""
        paper = f"Lines in italics (or after “paper:”) are the paper's, measured on {self.dataset.capitalize()}"
        lines = [f"{paper}; not comparable: {WHY[self.dataset]}. Its LPIPS network is not stated."]
        if self.config.preset == SMOKE:
            lines.insert(0, "SMOKE RESULTS: trained for seconds, to see that it runs; they say nothing of the method.")
        if any(name.startswith(TRAIN_PREFIX) for one in self.measured for name in one.metrics):
            lines.append("Measured on clips that the model was TRAINED ON: the data have no held-out ones.")
        missing = [name for name, _ in self.columns if not any(name in _plain(one.metrics) for one in self.measured)]
        if missing:
            named = ", ".join(FIGURES[name].title for name in missing)
            lines.append(f"Not measured: {named}; their networks' weights were not found (see `hia evaluate --help`).")
        lines += [f"{one.row.name}: failed: {one.reason}" for one in self.measured if one.reason]
        return lines

    def as_text(self) -> str:
        """The table for a terminal; the best of each column has a star."""
        rows = [["", *self._header(), "time"]]
        for one, cells in zip(self.measured, self._cells("*{}"), strict=True):
            rows.append([one.row.name, *cells, _work(one)])
            rows.append(["  paper:", *self._paper(one), ""])
        return "\n".join([f"Table {self.number}: {self.title}", "", table(rows), "", *self.notes()])

    def as_markdown(self) -> str:
        """The table in Markdown; the best of each column is bold."""
        rows = []
        for one, cells in zip(self.measured, self._cells("**{}**"), strict=True):
            rows.append([one.row.name, *cells, _work(one)])
            rows.append(["*paper*", *(f"*{cell}*" if cell else "" for cell in self._paper(one)), ""])
        notes = "\n".join(f"- {note}" for note in self.notes())
        body = markdown_table(["", *self._header(), "time"], rows)
        return f"# Table {self.number}: {self.title}\n\n{body}\n\n{notes}\n"

    def as_csv(self) -> bytes:
        """The table as CSV: a line for each row, all its metrics, the paper's figures."""
        names = sorted({name for one in self.measured for name in one.metrics})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        paper = ["paper/lpips" if "lpips_vgg" in names else f"paper/{names[0]}" for names, _ in COLUMNS]
        writer.writerow(["row", *names, *paper, "ran", "seconds", "mlflow_run_id", "reason"])
        for one in self.measured:
            values = [one.metrics.get(name, math.nan) for name in names]
            said = one.row.paper.get(self.dataset, (math.nan,) * len(COLUMNS))
            ending = [" ".join(one.ran), round(one.seconds, 1), one.run_id or "", one.reason]
            writer.writerow([one.row.name, *values, *said, *ending])
        return text.getvalue().encode()

    def _header(self) -> list[str]:
        return [f"{FIGURES[name].title}{FIGURES[name].arrow}" for name, _ in self.columns]

    def _cells(self, best: str) -> list[list[str]]:
        """Figures of each row; the best of a column as `best` says."""
        columns = [self._column(name, form, best) for name, form in self.columns]
        return [list(row) for row in zip(*columns, strict=True)]

    def _column(self, name: str, form: str, best: str) -> list[str]:
        values = [_plain(one.metrics).get(name) for one in self.measured]
        known = {value for value in values if value is not None}
        first = None if len(known) < 2 else (max if FIGURES[name].better > 0 else min)(known)
        texts = [MISSING if value is None else format(value, form) for value in values]
        return [
            best.format(text) if first is not None and value == first else text
            for value, text in zip(values, texts, strict=True)
        ]

    def _paper(self, one: Measured) -> list[str]:
        values = one.row.paper.get(self.dataset)
        return [format(value, form) for value, (_, form) in zip(values, COLUMNS, strict=True)] if values else [""] * 7


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by names without the split; a table has one split throughout, and its notes say which."""
    return {name.removeprefix(TRAIN_PREFIX): value for name, value in metrics.items()}


def _work(one: Measured) -> str:
    if one.reason:
        return "failed"
    return f"{format_duration(one.seconds)} ({'ran ' + ', '.join(one.ran) if one.ran else 'all reused'})"
