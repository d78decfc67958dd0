"""A run of the whole chain: the configuration made absolute and checked, the plan, its execution, the summary."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from hia.config import Config
from hia.config_files import load_config
from orchestration.chain import Chain, ChainStage, Selection, plan
from orchestration.chain.execution import ending
from orchestration.cluster import check_resources, connected
from orchestration.contents import Contents
from orchestration.input_stages import check_data
from orchestration.job import absolute, check_writable
from orchestration.summary import end_summary, plan_table

if TYPE_CHECKING:
    from orchestration.tracking import Tracking

StagesOf = Callable[[Config, Contents], Sequence[ChainStage]]


def run(arguments: argparse.Namespace, stages_of: StagesOf) -> None:
    """Plan, and unless that was all, do it. Raises what `main` explains."""
    config, notes = configured(arguments)
    storage = Path(config.storage)
    check(config)
    contents = Contents(storage / ".contents.json")
    stages = stages_of(config, contents)
    selection = Selection(anew=arguments.anew, only=arguments.only)
    selection.check(stages)
    for note in notes:
        tqdm.write(note, file=sys.stderr)
    if arguments.dry_run:
        tqdm.write(plan_table(plan(stages, storage, _present_tracking(storage), selection)))
        return
    check_writable(storage)
    contents.remember()
    tqdm.write(carry_out(stages, config, selection, quiet=arguments.quiet))


def carry_out(stages: Sequence[ChainStage], config: Config, selection: Selection, quiet: bool) -> str:
    """Run what is missing, and tell of it. Raises what `Chain.run` does."""
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
        with ending(parent):
            executed = chain.run(planned, parent)
            parent.note_stages(executed)
    return end_summary(executed, parent, storage)


def configured(arguments: argparse.Namespace) -> tuple[Config, list[str]]:
    """The configuration with absolute places, and notes for the user. Raises ConfigError."""
    config = load_config(arguments.preset, arguments.set)
    if arguments.data is not None:
        config = replace(config, data=arguments.data)
    if folders := os.environ.get("HIA_WEIGHTS"):
        os.environ["HIA_WEIGHTS"] = os.pathsep.join(map(os.path.abspath, folders.split(os.pathsep)))
    return absolute(config)


def check(config: Config) -> None:
    """What can be known to be wrong before any work. Raises ValueError or OSError with what to do."""
    from orchestration.training.memory import check as check_memory

    check_data(config, Path(config.storage))
    check_memory(config)


def tags(config: Config) -> dict[str, str]:
    """By what runs are looked for in the tracking server."""
    return {
        "preset": config.preset,
        "ablation": config.ablation or "full",
        "gamma": f"{config.gamma:g}",
        "omega": f"{config.sampling.guidance_scale:g}",
    }


def join_cluster(cluster: ExitStack, config: Config) -> None:
    """Connect to the cluster, once, and see whether the workers fit in."""
    import ray

    if ray.is_initialized():
        return
    cluster.enter_context(connected())
    training = config.training
    each = {"CPU": training.cpus_per_worker, "GPU": training.gpus_per_worker}
    check_resources(training.workers, each, training.accelerator_type)


def _present_tracking(storage: Path) -> "Tracking | None":
    """The tracking server, unless looking at it would make one."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (storage / "mlflow.db").is_file():
        return None
    from orchestration.tracking import connect_tracking

    return connect_tracking(storage)


def _silent(_line: str) -> None:
    """For --quiet."""
