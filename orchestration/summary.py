"""What people read: the plan as a table, and at the end what was made, how good it is and how to look at it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.chain.execution import Executed, in_words
from orchestration.chain.planning import Plan

if TYPE_CHECKING:
    from orchestration.tracking import Run

METRICS = ("psnr", "ssim", "l1", "l1_disco")
ROWS = {
    "": "this model",
    "default_sharpness/": "… with default sharpness",
    "repeat_reference/": "repeat the reference",
    "codec_cap/": "the codec's own cap",
}


def plan_table(planned: Plan) -> str:
    """A line for each stage: what would be done, and why."""
    rows = [("stage", "action", "why"), *((one.stage.name, one.action, one.why) for one in planned)]
    return table(rows)


def end_summary(executed: Sequence[Executed], parent: "Run", storage: Path) -> str:
    """What was made, and the commands to look at it, animate with it and serve it."""
    by_name = {one.name: one for one in executed}
    parts = [_times(executed)]
    if (evaluated := by_name.get("evaluate")) and (table := metrics_table(evaluated.metrics)):
        parts.append(table)
    parts.append("\n".join([*_places(by_name), f"MLflow run: {parent.url}"]))
    parts.append("\n".join(_commands(by_name, storage)))
    return "\n\n".join(parts)


def metrics_table(metrics: Mapping[str, float]) -> str:
    """The evaluation's metrics against its baselines; names may begin with the split that they are of."""
    splits = sorted({name.rpartition("psnr")[0] for name in metrics if name.endswith("psnr")}, key=len)
    split = splits[0] if splits else ""
    shown = [name for name in METRICS if f"{split}{name}" in metrics]
    title = "on clips that it was trained on" if split else "on held-out clips"
    rows = [
        (label, *(f"{metrics[f'{split}{prefix}{name}']:.4g}" for name in shown))
        for prefix, label in ROWS.items()
        if all(f"{split}{prefix}{name}" in metrics for name in shown)
    ]
    return table([(title, *shown), *rows]) if shown else ""


def _times(executed: Sequence[Executed]) -> str:
    rows = [("stage", "", "time")]
    rows += [(one.name, "reused" if one.action == "reuse" else "done", in_words(one.seconds)) for one in executed]
    return table(rows)


def _places(executed: Mapping[str, Executed]) -> list[str]:
    found = [
        ("sample", "sample_side_by_side.mp4", "video"),
        ("evaluate", "contact_sheet.png", "pictures"),
        ("evaluate", "report.html", "report"),
        ("export", "model", "model"),
    ]
    return [
        f"{label + ':':<11} {executed[stage].folder / name}"
        for stage, name, label in found
        if stage in executed and (executed[stage].folder / name).exists()
    ]


def _commands(executed: Mapping[str, Executed], storage: Path) -> list[str]:
    """Exact commands, each with what it is for."""
    tracking = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"
    lines = [] if tracking.startswith("http") else [f"look:     mlflow ui --backend-store-uri {shlex.quote(tracking)}"]
    if "export" in executed:
        model = shlex.quote(str(executed["export"].folder / "model"))
        driving = (
            f"{executed['dancers'].folder / 'videos' / 'dancer_000.mp4'}" if "dancers" in executed else "dance.mp4"
        )
        lines.append(
            f"animate:  hia animate --model {model} --reference person.jpg --driving {shlex.quote(driving)} "
            "--output result.mp4"
        )
    if "register" in executed:
        lines.append(
            f"serve:    MLFLOW_TRACKING_URI={shlex.quote(tracking)} mlflow models serve -m models:/hia/latest "
            "--env-manager local"
        )
    return lines


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their entries; the last one as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
