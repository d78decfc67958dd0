"""A run of the whole chain: configuration, checks, plan, execution, summary."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from hia.config import Config, load_config
from orchestration.chain import Chain, ChainStage, Selection, plan
from orchestration.chain.execute import Executed, final_status, format_duration
from orchestration.chain.plan import Plan
from orchestration.environment import TRACKING_URI, make_weights_folders_absolute, tracking_uri
from orchestration.job_paths import with_absolute_paths
from orchestration.names import (
    CONTACT_SHEET,
    CONTENT_HASHES,
    DANCERS,
    EVALUATE,
    EXPORT,
    MODEL,
    REGISTER,
    REPORT,
    SAMPLE,
    SAMPLE_SIDE_BY_SIDE,
    VIDEOS,
    stage_names,
    tracking_database,
)
from orchestration.preflight import check, check_writable

if TYPE_CHECKING:
    from orchestration.stages.content_hashes import ContentHashes
    from orchestration.tracking import Run, Tracking


StagesOf = Callable[[Config, "ContentHashes"], Sequence[ChainStage]]
METRICS = ("psnr", "ssim", "l1", "l1_disco")
ROWS = {
    "": "this model",
    "default_sharpness/": "… with default sharpness",
    "repeat_reference/": "repeat the reference",
    "codec_cap/": "the codec's own cap",
}


def run(arguments: argparse.Namespace, stages_of: StagesOf | None = None) -> None:
    """Plan the chain; without --dry-run, run it. Raises what the command explains.

    stages_of: the chain of a configuration, instead of the project's own. Nothing heavy is imported before the
    configuration, its data and the selected stages are known to be right.
    """
    config, notes = configured(arguments)
    selection = Selection(anew=arguments.anew, only=arguments.only)
    if stages_of is None:
        selection.check(stage_names(config))
    check(config)
    from orchestration.stages.content_hashes import ContentHashes

    storage = Path(config.storage)
    contents = ContentHashes(storage / CONTENT_HASHES)
    stages = (stages_of or project_stages())(config, contents)
    selection.check([stage.name for stage in stages])
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    if arguments.dry_run:
        tqdm.write(plan_table(plan(stages, storage, _present_tracking(storage), selection)))
        return
    check_writable(storage)
    contents.remember()
    tqdm.write(carry_out(stages, config, selection, quiet=arguments.quiet))


def configured(arguments: argparse.Namespace) -> tuple[Config, list[str]]:
    """The configuration with absolute paths, and notes for the user. Raises ConfigError."""
    config = load_config(arguments.preset, arguments.set)
    if arguments.data is not None:
        config = replace(config, data=arguments.data)
    make_weights_folders_absolute()
    return with_absolute_paths(config)


def project_stages() -> StagesOf:
    """The project's own chain, whose modules take seconds to import."""
    from orchestration.stages.chain_stages import chain_stages

    return chain_stages


def _present_tracking(storage: Path) -> "Tracking | None":
    """The tracking server; None if connecting would create its database."""
    if not os.environ.get(TRACKING_URI) and not tracking_database(storage).is_file():
        return None
    from orchestration.tracking import connect_tracking

    return connect_tracking(storage)


def plan_table(planned: Plan) -> str:
    """Table of a plan: each stage with its action, and why."""
    rows = [("stage", "action", "why"), *((one.stage.name, one.action, one.why) for one in planned)]
    return table(rows)


def carry_out(stages: Sequence[ChainStage], config: Config, selection: Selection, quiet: bool) -> str:
    """Run the missing stages; returns the summary. Raises what `Chain.run` raises."""
    from orchestration.tracking import connect_tracking

    storage = Path(config.storage)
    tracking = connect_tracking(storage)
    tracking.close_orphans()
    with ExitStack() as cluster:
        chain = Chain(
            stages,
            config,
            storage,
            tracking,
            tags=tags(config),
            prepare=lambda: join_cluster(cluster, config),
            say=_silent if quiet else tqdm.write,
            show=not quiet,
        )
        planned = chain.plan(selection)
        parent = tracking.start_pipeline(chain.fingerprint, asdict(config), tags(config))
        with final_status(parent):
            executed = chain.run(planned, parent)
            parent.note_stages(executed)
    return end_summary(executed, parent, storage)


def tags(config: Config) -> dict[str, str]:
    """Tags by which runs are searched in the tracking server."""
    return {
        "preset": config.preset,
        "ablation": config.ablation or "full",
        "gamma": f"{config.gamma:g}",
        "omega": f"{config.sampling.guidance_scale:g}",
    }


def join_cluster(cluster: ExitStack, config: Config) -> None:
    """Connect to the cluster, once. Raises ValueError when it has no room for the workers."""
    import ray

    from orchestration.cluster import check_resources, connected

    if ray.is_initialized():
        return
    cluster.enter_context(connected())
    training = config.training
    each = {"CPU": training.cpus_per_worker, "GPU": training.gpus_per_worker}
    check_resources(training.workers, each, training.accelerator_type)


def _silent(_line: str) -> None:
    """Discard a line: the `say` of --quiet."""


def end_summary(executed: Sequence[Executed], parent: "Run", storage: Path) -> str:
    """Summary for the user: times, metrics, places of the results, commands to look at, animate with and serve them."""
    by_name = {one.name: one for one in executed}
    parts = [_times(executed)]
    if (evaluated := by_name.get(EVALUATE)) and (table := metrics_table(evaluated.metrics)):
        parts.append(table)
    parts.append("\n".join([*_places(by_name), f"MLflow run: {parent.url}"]))
    parts.append("\n".join(_commands(by_name, storage)))
    return "\n\n".join(parts)


def _times(executed: Sequence[Executed]) -> str:
    rows = [("stage", "", "time")]
    rows += [
        (one.name, "reused" if one.action == "reuse" else "done", format_duration(one.seconds)) for one in executed
    ]
    return table(rows)


def metrics_table(metrics: Mapping[str, float]) -> str:
    """Table of the evaluation's metrics beside its baselines'; their names may begin with their split."""
    splits = sorted({name.rpartition("psnr")[0] for name in metrics if name.endswith("psnr")}, key=len)
    split = splits[0] if splits else ""
    columns = [name for name in METRICS if f"{split}{name}" in metrics]
    title = "on clips that it was trained on" if split else "on held-out clips"
    rows = [
        (label, *(f"{metrics[f'{split}{prefix}{name}']:.4g}" for name in columns))
        for prefix, label in ROWS.items()
        if all(f"{split}{prefix}{name}" in metrics for name in columns)
    ]
    return table([(title, *columns), *rows]) if columns else ""


def _places(executed: Mapping[str, Executed]) -> list[str]:
    found = [
        (SAMPLE, SAMPLE_SIDE_BY_SIDE, "video"),
        (EVALUATE, CONTACT_SHEET, "pictures"),
        (EVALUATE, REPORT, "report"),
        (EXPORT, MODEL, "model"),
    ]
    return [
        f"{label + ':':<11} {executed[stage].folder / name}"
        for stage, name, label in found
        if stage in executed and (executed[stage].folder / name).exists()
    ]


def _commands(executed: Mapping[str, Executed], storage: Path) -> list[str]:
    """Exact commands, each with its purpose."""
    tracking = tracking_uri(storage)
    lines = [] if tracking.startswith("http") else [f"look:     mlflow ui --backend-store-uri {shlex.quote(tracking)}"]
    if EXPORT in executed:
        model = shlex.quote(str(executed[EXPORT].folder / MODEL))
        driving = f"{executed[DANCERS].folder / VIDEOS / 'dancer_000.mp4'}" if DANCERS in executed else "dance.mp4"
        lines.append(
            f"animate:  hia animate --model {model} --reference person.jpg --driving {shlex.quote(driving)} "
            "--output result.mp4"
        )
    if REGISTER in executed:
        lines.append(
            f"serve:    MLFLOW_TRACKING_URI={shlex.quote(tracking)} mlflow models serve -m models:/hia/latest "
            "--env-manager local"
        )
    return lines


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows in columns as wide as their entries; the last one as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
