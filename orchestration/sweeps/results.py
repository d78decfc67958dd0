"""Results of a sweep: tables, a picture, the best configuration; in its folder and in its tracking run."""

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hia.io.files import Folder
from orchestration.chain.execute import format_duration
from orchestration.pipeline import METRICS, table
from orchestration.sweeps.search_space import format_value, short_name
from orchestration.sweeps.spec import SweepSpec
from orchestration.sweeps.trials import Record, Sweep
from orchestration.tracking.runs import table as markdown_table

if TYPE_CHECKING:
    from orchestration.tracking import Run

CSV, MARKDOWN, PICTURE, BEST, SPEC = "results.csv", "results.md", "results.png", "best.yaml", "sweep.yaml"


@dataclass(frozen=True)
class Results:
    """The trials of a sweep with their metrics, and the files about them."""

    sweep: Sweep
    records: Sequence[Record]

    @property
    def failed(self) -> list[Record]:
        """Trials that ended with an error."""
        return [record for record in self.records if record.state == "failed"]

    @property
    def best(self) -> Record | None:
        """The best finished trial, the first of equal ones; None without any."""
        spec, best = self.sweep.spec, None
        for record in self.records:
            if record.state != "done":
                continue
            if best is None or spec.better(record.metrics[spec.metric], best.metrics[spec.metric]):
                best = record
        return best

    @property
    def files(self) -> list[Path]:
        """The files that were written."""
        names = (SPEC, CSV, MARKDOWN, PICTURE, BEST)
        return [path for name in names if (path := self.sweep.folder / name).is_file()]

    def rows(self) -> list[list[str]]:
        """Rows of a table: a header, and for each trial its values, metrics, time and state."""
        measured = self.shown_metrics()
        header = [*map(short_name, self.sweep.spec.search), *measured, "time", "state"]
        return [header, *(self._row(record, measured) for record in self.records)]

    def shown_metrics(self) -> list[str]:
        """Names of the sweep's own metric and of the usual ones that any trial has."""
        metric = self.sweep.spec.metric
        prefix = metric.rpartition("/")[0]
        known = {name for record in self.records for name in record.metrics}
        usual = [f"{prefix}/{name}" if prefix else name for name in METRICS]
        return [metric, *(name for name in usual if name != metric and name in known)]

    def log(self, parent: "Run") -> None:
        """Log files, counts and the best trial to the sweep's tracking run."""
        for path in self.files:
            parent.log_artifact(path)
        states = [record.state for record in self.records]
        counts = {f"trials_{state}": float(states.count(state)) for state in ("done", "stopped", "failed")}
        best = self.best
        if best is not None:
            counts |= {f"best/{name}": best.metrics[name] for name in self.shown_metrics() if name in best.metrics}
            parent.set_tags({"best": best.trial.label, "best_run": best.run_id or ""})
        parent.log_metrics(counts)

    def _row(self, record: Record, measured: Sequence[str]) -> list[str]:
        values = [format_value(record.values[key]) for key in self.sweep.spec.search]
        metrics = [f"{record.metrics[name]:.4g}" if name in record.metrics else "–" for name in measured]
        return [*values, *metrics, format_duration(record.seconds), describe_state(record, record == self.best)]


def write_results(sweep: Sweep, records: Sequence[Record]) -> Results:
    """Write the files, in place of those of an earlier execution. Raises OSError."""
    from orchestration.sweeps.plots import picture

    results = Results(sweep, tuple(records))
    files = Folder(sweep.folder)
    files.write(CSV, _csv(results))
    files.write(MARKDOWN, _markdown(results).encode())
    (sweep.folder / BEST).unlink(missing_ok=True)
    (sweep.folder / PICTURE).unlink(missing_ok=True)
    if results.best is not None:
        files.write(BEST, best_configuration(sweep, results.best).encode())
        files.write(PICTURE, picture(sweep, results.records, results.best))
    return results


def best_configuration(sweep: Sweep, best: Record) -> str:
    """YAML for `run_all.py --preset`: the base with the best values, at full length, without the sweep's budget."""
    spec = sweep.spec
    config = json.loads(json.dumps(asdict(sweep.config(best.trial, budget=False))))
    budget = f", where trials had {_changes(spec.budget)}" if spec.budget else ""
    head = (
        f"# The best of sweep {sweep.name}: {_changes(best.values)}\n"
        f"# {spec.metric} = {best.metrics[spec.metric]:.6g} ({spec.mode} is best){budget}\n"
    )
    return head + yaml.safe_dump(config, allow_unicode=True, sort_keys=False)


def end_summary(sweep: Sweep, results: Results, parent: "Run") -> str:
    """Summary for the user: the table, the best trial, the places of the results, the next command."""
    parts = [table([list(map(str, row)) for row in results.rows()])]
    best = results.best
    if best is not None:
        parts.append(f"best: {best.trial.label} ({sweep.spec.metric} {best.metrics[sweep.spec.metric]:.6g})")
    places = [f"results:    {sweep.folder}", f"MLflow run: {parent.url}"]
    if best is not None:
        places.append(f"next:       python orchestration/run_all.py --preset {shlex.quote(str(sweep.folder / BEST))}")
    if results.failed:
        places.append(f"failed:     {len(results.failed)} of {len(results.records)}; the same command tries them again")
    return "\n\n".join([*parts, "\n".join(places)])


def describe_state(record: Record, best: bool) -> str:
    """Describe the state of a trial in a few words."""
    if record.state == "failed":
        return f"failed: {record.reason.strip().splitlines()[0]}"
    if record.state == "stopped":
        return f"given up after {record.share:.3g} of the training"
    return "best" if best else record.state


def _csv(results: Results) -> bytes:
    spec = results.sweep.spec
    names = sorted({name for record in results.records for name in record.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*spec.search, *names, "state", "share_of_training", "seconds", "mlflow_run_id", "reason"])
    for record in results.records:
        values = [record.values[key] for key in spec.search]
        metrics = [record.metrics.get(name, math.nan) for name in names]
        ending = [record.state, record.share, record.seconds, record.run_id or "", record.reason]
        writer.writerow([*values, *metrics, *ending])
    return text.getvalue().encode()


def _markdown(results: Results) -> str:
    spec, (header, *rows) = results.sweep.spec, results.rows()
    lines = [
        f"# Sweep {results.sweep.name}",
        "",
        f"Judged by `{spec.metric}` ({spec.mode} is best); preset `{results.sweep.base['preset']}`. {_fixed(spec)}",
        "",
        markdown_table(header, [[cell.replace("|", "\\|") for cell in row] for row in rows]),
        "",
    ]
    return "\n".join(lines)


def _fixed(spec: SweepSpec) -> str:
    parts = [("All trials with", spec.set), ("budget", spec.budget)]
    return "; ".join(f"{label}: {_changes(values)}" for label, values in parts if values)


def _changes(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={format_value(value)}" for key, value in values.items())
