"""Measure animations against the truth: a model on a clip store, or a folder of videos against true ones.

A run that was stopped continues with the next video. Writes results.json, videos.csv and report.html.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hia.commands.options import changed_sampling, chosen_device, to_device
from hia.config.evaluation import CHEAP, own_weights

if TYPE_CHECKING:
    from hia.config.types import Split
    from hia.evaluation.metrics import Metrics
    from hia.evaluation.protocol.reenactment import Sharpness
    from hia.evaluation.protocol.results import Results

OF_MODELS = ("split", "clips", "frames", "sharpness", "seed", "steps", "guidance_scale")
OF_FOLDERS = ("fake", "real")
PRINTED = ("psnr", "ssim", "l1", "lpips_alex", "lpips_vgg", "csim", "fid", "fid_vid", "fvd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for all results")
    folders = parser.add_argument_group("folders: two folders of videos, or of folders of images, matched by name")
    folders.add_argument("--fake", type=Path, metavar="DIR", help="generated videos")
    folders.add_argument("--real", type=Path, metavar="DIR", help="true videos, with their keypoint files if there are")
    _add_model_arguments(parser.add_argument_group("a model: animates first frames of clips by the clips' own motion"))
    _add_metric_arguments(parser.add_argument_group("metrics"))
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_model_arguments(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--model", type=Path, metavar="DIR", help="model directory")
    group.add_argument("--store", metavar="STORE", help="folder or URL of a clip store")
    group.add_argument("--split", choices=("test", "train"), help="which clips (default: test)")
    group.add_argument("--clips", type=int, metavar="N", help="so many clips at most, of many videos (default: all)")
    group.add_argument("--frames", type=int, metavar="N", help="of each clip, from its first one (default: all)")
    group.add_argument(
        "--sharpness",
        choices=("truth", "default", "both"),
        help="of the hands: the truth, as in the paper, or the model's default (default: both, apart)",
    )
    group.add_argument("--seed", type=int, help="of the noise (default 0)")
    group.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    group.add_argument("--guidance-scale", type=float, metavar="OMEGA", help="1 is no guidance (default: the model's)")


def _add_metric_arguments(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--metrics", nargs="+", metavar="NAME", help="by name (default: those whose weights are found)")
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="METRIC=FILE",
        help="other weights than the official ones; the result then has another name; may be repeated",
    )
    group.add_argument("--download", action="store_true", help="download official weights that are not found")
    group.add_argument(
        "--first-frame", type=int, metavar="N", help="frames before it do not count (default: 1 of models)"
    )
    group.add_argument("--stride", default="16", metavar="N", help="between clips of video distances, or whole")
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")


def run(arguments: argparse.Namespace) -> None:
    """Check all input, then measure. Raises ValueError or OSError with a message for the user."""
    of_model = _check_options(arguments)
    results = _of_model(arguments) if of_model else _of_folders(arguments)
    print(_result_text(results, arguments.output))


def _check_options(arguments: argparse.Namespace) -> bool:
    """True if a model is evaluated, False for folders. Raises ValueError for options that do not go together."""
    given = {key for key, value in vars(arguments).items() if value is not None}
    of_model = bool({"model", "store"} & given)
    if of_model and not {"model", "store"} <= given:
        raise ValueError("a model is evaluated on a clip store: give both --model and --store")
    if not of_model and not {"fake", "real"} <= given:
        raise ValueError("give --model and --store to evaluate a model, or --fake and --real to compare videos")
    if wrong := [key for key in (OF_FOLDERS if of_model else OF_MODELS) if key in given]:
        other = "a model" if of_model else "folders of videos"
        raise ValueError(
            f"--{wrong[0].replace('_', '-')} cannot be used when {other} {'is' if of_model else 'are'} given"
        )
    for key in ("clips", "frames", "steps"):
        if key in given and getattr(arguments, key) < 1:
            raise ValueError(f"--{key} must be at least 1, not {getattr(arguments, key)}")
    if "seed" in given and not 0 <= arguments.seed < 2**63:
        raise ValueError(f"--seed must lie in 0..2^63 − 1, not {arguments.seed}")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ValueError(f"--output {arguments.output} is a file: give a folder")
    _stride(arguments.stride)
    return of_model


def _of_folders(arguments: argparse.Namespace) -> "Results":
    from hia.evaluation.evaluate import evaluate_folders
    from hia.evaluation.protocol.folders import match_videos

    match_videos(arguments.fake, arguments.real)  # before networks are loaded
    metrics = _metrics(arguments, chosen_device(arguments.device), first_frame=0)
    return evaluate_folders(arguments.fake, arguments.real, arguments.output, metrics, not arguments.quiet)


def _of_model(arguments: argparse.Namespace) -> "Results":
    from hia.data.store.clip_store import open_store
    from hia.evaluation.evaluate import evaluate_model, model_digest
    from hia.evaluation.protocol.clips import ReenactmentSettings
    from hia.evaluation.protocol.reenactment import interleave_by_video
    from hia.models.animation_model import load_model

    store = open_store(arguments.store, check="size")
    split: Split = arguments.split or "test"
    clips = interleave_by_video(store.of_split(split))[: arguments.clips]
    if not clips:
        raise ValueError(f"{store.folder} has no clips of the split {split}: choose the other one by --split")
    model = load_model(arguments.model)
    sampling = changed_sampling(model.config.sampling, arguments, ("steps", "guidance_scale"))
    device = chosen_device(arguments.device)
    to_device(model, device)
    metrics = _metrics(arguments, device, first_frame=1)
    protocols: tuple[Sharpness, ...] = ("truth", "default")
    if arguments.sharpness in ("truth", "default"):
        protocols = (arguments.sharpness,)
    wanted = ReenactmentSettings(
        model_digest(arguments.model), protocols, arguments.frames, arguments.seed or 0, sampling
    )
    return evaluate_model(model, store, clips, wanted, metrics, arguments.output, not arguments.quiet)


def _metrics(arguments: argparse.Namespace, device: str, first_frame: int) -> "Metrics":
    from hia.evaluation.metrics import USUAL, load_metrics
    from hia.evaluation.scores import ClipSampling, MetricSettings

    if arguments.first_frame is not None:
        first_frame = arguments.first_frame
    metrics = load_metrics(
        arguments.metrics,
        own_weights(arguments.weights),
        MetricSettings(ClipSampling(_stride(arguments.stride)), first_frame),
        device,
        arguments.download,
        usual=CHEAP if device == "cpu" else USUAL,
    )
    for name, reason in metrics.skipped.items():
        print(f"note: {name} is left out: {reason.splitlines()[0]} (all of it in the report)")
    return metrics


def _stride(text: str) -> int | None:
    if text == "whole":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--stride must be a number of at least 1, or whole, not {text!r}")
    return int(text)


def _result_text(results: "Results", output: Path) -> str:
    """The most important figures and the files of the results, as text."""
    from hia.evaluation.protocol.results import LABELS, RESULTS, TABLE
    from hia.evaluation.report import REPORT
    from hia.visualization.text import four_digits

    lines = [f"{len(results.videos)} videos" + (f", {len(results.set_aside)} set aside" if results.set_aside else "")]
    for method, summary in results.summaries.items():
        names = [name for name in summary.figures if name in PRINTED or "[" in name]
        lines.append(
            f"{LABELS[method]}: " + ", ".join(f"{name} {four_digits(summary.figures[name].value)}" for name in names)
        )
    return "\n".join([*lines, f"report: {output / REPORT}   (figures: {RESULTS}, {TABLE})"])
