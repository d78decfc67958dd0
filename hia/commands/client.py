"""Animate a reference image by a served model (mlflow models serve), and write its video."""

import argparse
from pathlib import Path
from typing import Any

from hia.io.files import write_bytes
from hia.serving.client import driving_column, request_video

FORMATS = {".mp4": "mp4", ".webp": "webp", ".gif": "gif"}
PARAMS = ("seed", "steps", "guidance", "guidance_scale", "sharpness", "width", "height", "fps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("url", metavar="URL", help="of the server, such as http://localhost:5000")
    needed = parser.add_argument_group("input and output")
    needed.add_argument("--reference", type=Path, required=True, metavar="IMAGE", help="PNG, JPEG or WebP")
    needed.add_argument(
        "--driving",
        type=Path,
        required=True,
        metavar="VIDEO_OR_NPZ",
        help="keypoint file (.npz, .json), or a video (.mp4, .webm) in which the server finds them",
    )
    needed.add_argument("--output", type=Path, required=True, metavar="FILE", help=".mp4, .webp or .gif to write")

    params = parser.add_argument_group("parameters (defaults: the model's)")
    params.add_argument("--seed", type=int, help="same seed, same video (default 0)")
    params.add_argument("--steps", type=int, help="denoising steps")
    params.add_argument("--guidance", help="what the null branch lacks: none, reference, animation")
    params.add_argument("--guidance-scale", type=float, metavar="OMEGA", help="1 is no guidance")
    params.add_argument("--sharpness", type=float, metavar="0..1", help="how sharp hands are")
    params.add_argument("--width", type=int, help="of the output, in pixels")
    params.add_argument("--height", type=int, help="of the output, in pixels")
    params.add_argument("--fps", type=float, help="of the output (default: the driving motion's)")
    params.add_argument("--align", action="store_true", help="fit the motion to the reference person's place and limbs")
    params.add_argument(
        "--reference-keypoints",
        type=Path,
        metavar="NPZ",
        help="the reference's, for --align; else the server finds them",
    )

    waiting = parser.add_argument_group("waiting")
    waiting.add_argument("--timeout", type=float, default=3600, metavar="S", help="for an answer (default 3600)")
    waiting.add_argument("--patience", type=float, default=60, metavar="S", help="while it is busy (default 60)")


def run(arguments: argparse.Namespace) -> None:
    """Request and write the video. Raises ValueError or OSError with a message for the user."""
    output: Path = arguments.output
    if output.suffix.lower() not in FORMATS:
        raise ValueError(f"--output {output} must end in {', '.join(FORMATS)}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: the folder {output.parent} does not exist; create it first")
    files, params = _files(arguments), _params(arguments)
    response = request_video(arguments.url, files, params, arguments.timeout, arguments.patience)
    write_bytes(output, response.video)
    about = response.about
    print(
        f"{output}: {about.get('num_frames')} frames of {about.get('width')}×{about.get('height')} at "
        f"{about.get('fps')} fps; seed {about.get('seed')}, model {about.get('version')}, seconds {_durations(about)}"
    )


def _files(arguments: argparse.Namespace) -> dict[str, Path]:
    for name in ("reference", "driving", "reference_keypoints"):
        file = getattr(arguments, name)
        if file is not None and file.exists() and arguments.output.exists() and file.samefile(arguments.output):
            raise ValueError(f"--output {arguments.output} is also the --{name.replace('_', '-')}: it would be lost")
    files = {"reference": arguments.reference, driving_column(arguments.driving): arguments.driving}
    return files | ({"reference_keypoints": arguments.reference_keypoints} if arguments.reference_keypoints else {})


def _params(arguments: argparse.Namespace) -> dict[str, Any]:
    params = {name: value for name in PARAMS if (value := getattr(arguments, name)) is not None}
    return params | {"align": arguments.align, "format": FORMATS[arguments.output.suffix.lower()]}


def _durations(about: dict[str, Any]) -> str:
    seconds = about.get("seconds")
    return (
        ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()) if isinstance(seconds, dict) else "unknown"
    )
