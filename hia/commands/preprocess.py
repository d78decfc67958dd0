"""Make a clip store from raw videos: shots, one person, keypoints, blur, crops; list rejected ones with their reasons.

A second run makes only what is missing, also after a crash. On a cluster, do the same with Ray Data:
python -m orchestration.preprocess.
"""

import argparse
import shlex
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from hia.data.preprocess.build_store import Built

MOST_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEOS",
        help="video files, folders of them (TikTok and UBC Fashion are recognised), .txt lists, or fsspec URLs",
    )
    parser.add_argument("--output", required=True, metavar="STORE", help="folder or fsspec URL of the clip store")
    parser.add_argument("--preset", default="quickstart", metavar="NAME", help="preset or .yaml file (%(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value, such as preprocess.fps=25; may be repeated",
    )
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="of latents and embeddings, such as cuda (%(default)s)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the pose networks (default: one per core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(arguments: argparse.Namespace) -> None:
    """Preprocess in this process. Raises ValueError, MissingWeights or OSError with a message for the user."""
    check_arguments(arguments)

    from hia.config import load_config
    from hia.data.preprocess.build_store import build_store, check_device

    config = load_config(arguments.preset, arguments.set)
    check_device(arguments.device)
    built = build_store(
        arguments.videos,
        arguments.output,
        config,
        device=arguments.device,
        threads=arguments.threads,
        progress=not arguments.quiet,
    )
    tqdm.write(summary(built))


def check_arguments(arguments: argparse.Namespace) -> None:
    """Check the options. Raises ValueError for impossible ones."""
    if not arguments.output.strip():
        raise ValueError("--output must name the folder of the clip store")
    if arguments.threads is not None and arguments.threads < 1:
        raise ValueError(f"--threads must be at least 1, not {arguments.threads}")


def summary(built: "Built") -> str:
    """A summary of a run for people to read."""
    statistics, store = built.store.statistics, built.store
    by_split = statistics["by_split"]
    lines = [
        f"{built.num_videos} videos, {built.done_before} of them done before",
        f"{statistics['clips']} clips, {statistics['frames']} frames, {statistics['hours'] * 60:.1f} minutes "
        f"({by_split['train']['clips']} to train on, {by_split['test']['clips']} to test)",
    ]
    if statistics["rejected"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in statistics["rejected"].items())
        lines.append(f"rejected: {reasons} (each with its reason in {store.folder}/rejected.jsonl)")
    first = store.rejected[:MOST_SHOWN]
    lines += [f"  {rejection.video}: {rejection.reason}: {rejection.message}" for rejection in first]
    if len(store.rejected) > MOST_SHOWN:
        lines.append(f"  … and {len(store.rejected) - MOST_SHOWN} more")
    if built.retriable:
        lines.append(f"{len(built.retriable)} of these will be tried again at another run")
    lines += built.notes
    if statistics["ignored_files"]:
        ignored = ", ".join(f"{count} {suffix}" for suffix, count in statistics["ignored_files"].items())
        lines.append(f"other files, passed by: {ignored}")
    lines.append(f"clip store: {store.folder}   (look at it: hia inspect {shlex.quote(str(store.folder))})")
    return "\n".join(lines)
