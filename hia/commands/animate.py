"""Animate a reference image by a driving motion: a video with a keypoint file, or a keypoint file alone."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hia.commands.options import changed_sampling, chosen_device, to_device
from hia.images import Frame, fit_to_size, load_image
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import BODY, SCORE_THRESHOLD, KeypointSequence
from hia.pose.retarget import align_to_reference
from hia.video import VideoWriter, probe

if TYPE_CHECKING:
    from hia.conditions.driving import DrivingSignal
    from hia.models.animation_model import AnimationModel

# Below this side, nothing is left of a picture after the networks' halvings.
MIN_SIDE, MAX_SIDE = 32, 8192
FPS_TOLERANCE = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    needed = parser.add_argument_group("input and output")
    needed.add_argument("--model", type=Path, required=True, metavar="DIR", help="model directory")
    needed.add_argument("--reference", type=Path, required=True, metavar="IMAGE", help="picture of the person")
    needed.add_argument(
        "--driving",
        type=Path,
        required=True,
        metavar="VIDEO_OR_NPZ",
        help="keypoint file (.npz), or video with its keypoint file beside it or in ../keypoints",
    )
    needed.add_argument("--output", type=Path, required=True, metavar="FILE.mp4", help="video to write")
    needed.add_argument("--keypoints", type=Path, metavar="NPZ", help="the driving video's keypoint file, if elsewhere")

    motion = parser.add_argument_group("driving signal")
    motion.add_argument("--sharpness", type=float, metavar="0..1", help="how sharp hands are (default: the model's)")
    motion.add_argument("--align", action="store_true", help="fit the motion to the reference person's place and limbs")
    motion.add_argument(
        "--reference-keypoints", type=Path, metavar="NPZ", help="the reference's keypoints, for --align"
    )

    sampling = parser.add_argument_group("sampling (defaults: the model's)")
    sampling.add_argument("--width", type=int, help="of the output, in pixels")
    sampling.add_argument("--height", type=int, help="of the output, in pixels")
    sampling.add_argument("--steps", type=int, help="denoising steps")
    sampling.add_argument("--guidance", choices=("none", "reference", "animation"), help="what the null branch lacks")
    sampling.add_argument("--guidance-scale", type=float, metavar="OMEGA", help="1 is no guidance")
    sampling.add_argument("--scheduler", help="a diffusers scheduler, such as UniPCMultistepScheduler")
    sampling.add_argument("--window-batch", type=int, help="windows computed at once: faster, needs more memory")
    sampling.add_argument("--seed", type=int, default=0, help="same seed, same video (default 0)")
    sampling.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    sampling.add_argument("--attention", choices=("sdpa", "xformers"), default="sdpa", help="kernel (default sdpa)")

    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--side-by-side", action="store_true", help="reference, skeleton and result in a row")
    pictures.add_argument("--overlay", action="store_true", help="skeleton top left, blur condition top right")


def run(arguments: argparse.Namespace) -> None:
    """Check all input, then animate and write. Raises ValueError or OSError with a message for the user."""
    _check_options(arguments)
    reference = load_image(arguments.reference)
    keypoints, person = _driving_keypoints(arguments), _reference_keypoints(arguments, reference)
    writer = VideoWriter(arguments.output, keypoints.fps)

    from hia.animation.inference import animate
    from hia.models.animation_model import load_model

    model = load_model(arguments.model, arguments.attention)
    keys = ("steps", "guidance", "guidance_scale", "scheduler", "window_batch")
    sampling = changed_sampling(model.config.sampling, arguments, keys)
    width, height = _output_size(arguments, model, writer)
    driving = _driving_signal(arguments, model, keypoints, person, width, height)
    _warn_if_outside(driving, arguments.align)
    _warn_of_black_maps(model)
    to_device(model, chosen_device(arguments.device))
    frames = animate(model, reference, driving, sampling, seed=arguments.seed, progress=True)
    with writer:
        for picture in _pictures(arguments, reference, driving, frames):
            writer.write(picture)
    print(
        f"{arguments.output}: {len(keypoints)} frames of {width}×{height} at {keypoints.fps:g} fps; "
        f"seed {arguments.seed}, {sampling.scheduler}, {sampling.steps} steps, guidance {sampling.guidance} "
        f"{sampling.guidance_scale:g}, sharpness {driving.sharpness.flat[0]:.2f}"
    )


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise ValueError for options that contradict each other or are out of range, before anything is read."""
    for name in ("reference", "driving", "keypoints", "reference_keypoints"):
        file = getattr(arguments, name)
        if file is not None and file.exists() and arguments.output.exists() and file.samefile(arguments.output):
            raise ValueError(f"--output {arguments.output} is also the --{name.replace('_', '-')}: it would be lost")
    if arguments.keypoints and _is_keypoint_file(arguments.driving):
        raise ValueError("--keypoints belongs to a driving video, but --driving is a keypoint file itself")
    if arguments.reference_keypoints and not arguments.align:
        raise ValueError("--reference-keypoints is used by --align only; add it, or leave both out")
    if not 0 <= arguments.seed < 2**63:
        raise ValueError(f"--seed must lie in 0..2^63 − 1, not {arguments.seed}")
    for name in ("width", "height"):
        size = getattr(arguments, name)
        if size is not None and not MIN_SIDE <= size <= MAX_SIDE:
            raise ValueError(f"--{name} must lie in {MIN_SIDE}..{MAX_SIDE} pixels, not {size}")


def _is_keypoint_file(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _driving_keypoints(arguments: argparse.Namespace) -> KeypointSequence:
    """The keypoints of the driving file; those of a video are checked against it."""
    driving: Path = arguments.driving
    if _is_keypoint_file(driving):
        return load_keypoints(driving)
    if not driving.is_file():
        raise FileNotFoundError(f"no such video: {driving}")
    file = arguments.keypoints or _sidecar(driving, "--keypoints")
    keypoints, info = load_keypoints(file), probe(driving)
    if (len(keypoints), keypoints.width, keypoints.height) != (info.num_frames, info.width, info.height):
        raise ValueError(
            f"{file} does not belong to {driving}: keypoints of {len(keypoints)} frames of {keypoints.width}×"
            f"{keypoints.height}, video of {info.num_frames} frames of {info.width}×{info.height}"
        )
    if abs(keypoints.fps / info.fps - 1) > FPS_TOLERANCE:
        raise ValueError(f"{file} says {keypoints.fps:g} fps, but {driving} has {info.fps:g} fps")
    return keypoints


def _reference_keypoints(arguments: argparse.Namespace, reference: Frame) -> KeypointSequence | None:
    """The keypoints of the reference person, for --align; None without it."""
    if not arguments.align:
        return None
    file = arguments.reference_keypoints or _sidecar(arguments.reference, "--reference-keypoints")
    person = load_keypoints(file)
    height, width = reference.shape[:2]
    if (person.width, person.height) != (width, height):
        raise ValueError(
            f"{file} does not belong to {arguments.reference}: keypoints for {person.width}×{person.height}, "
            f"image of {width}×{height}"
        )
    return person


def _sidecar(media: Path, option: str) -> Path:
    """The keypoint file of a video or image: beside it, or in a folder `keypoints` next to its own."""
    places = (media.with_suffix(".npz"), media.absolute().parent.parent / "keypoints" / f"{media.stem}.npz")
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no keypoint file for {media}: looked for {places[0]} and {places[1]}; name it by {option}"
    )


def _output_size(arguments: argparse.Namespace, model: "AnimationModel", writer: VideoWriter) -> tuple[int, int]:
    """Width and height of the output in px. Raises ValueError for those that the codec or the video cannot have."""
    width = model.config.width if arguments.width is None else arguments.width
    height = model.config.height if arguments.height is None else arguments.height
    model.codec.check_size(width, height)
    writer.check_size(width, height)
    return width, height


def _driving_signal(
    arguments: argparse.Namespace,
    model: "AnimationModel",
    keypoints: KeypointSequence,
    person: KeypointSequence | None,
    width: int,
    height: int,
) -> "DrivingSignal":
    """The driving signal in the output's pixels: short gaps filled, then aligned to `person`, if given."""
    from hia.animation.inference import default_sharpness
    from hia.conditions.driving import driving_signal

    keypoints = keypoints.with_gaps_filled(model.config.preprocess.longest_gap_seconds)
    if person is not None:
        reference = person.keypoints[0], person.scores[0], person.width, person.height
        keypoints = align_to_reference(keypoints, *reference)
    sharpness = default_sharpness(model) if arguments.sharpness is None else arguments.sharpness
    return driving_signal(keypoints, width, height, sharpness, model.config.conditions)


def _warn_of_black_maps(model: "AnimationModel") -> None:
    """Print a note when the model also reads maps, which no keypoint file has."""
    if maps := model.config.conditions.maps:
        print(
            f"note: this model also reads maps ({', '.join(maps)}): they are black here, only clips of a store have "
            "them",
            file=sys.stderr,
        )


def _warn_if_outside(driving: "DrivingSignal", aligned: bool) -> None:
    """Print a note when much of the motion lies outside the output, where nothing can be drawn."""
    keypoints = driving.keypoints
    points, seen = keypoints.keypoints[:, BODY], keypoints.scores[:, BODY] >= SCORE_THRESHOLD
    inside = ((points >= 0) & (points < (keypoints.width, keypoints.height))).all(axis=2)
    outside = int(((seen & inside).sum(axis=1) < seen.sum(axis=1) / 2).sum())
    if outside:
        advice = (
            "crop the reference picture to the person first" if aligned else "--align fits the motion to the reference"
        )
        print(
            f"note: in {outside} of {len(keypoints)} frames the person is mostly outside the {keypoints.width}×"
            f"{keypoints.height} output, the middle of the {'reference' if aligned else 'driving'} picture: {advice}",
            file=sys.stderr,
        )


def _pictures(
    arguments: argparse.Namespace, reference: Frame, driving: "DrivingSignal", frames: Iterator[Frame]
) -> Iterator[Frame]:
    """The frames of the output: bare, with insets, or beside reference and skeleton."""
    from hia.visualization.skeleton import side_by_side, skeleton_picture, with_insets

    fitted = fit_to_size(reference, driving.keypoints.width, driving.keypoints.height)
    for number, frame in enumerate(frames):
        if arguments.overlay or arguments.side_by_side:
            control = driving.control_image(number)
            picture = with_insets(frame, control, driving.conditions.blur) if arguments.overlay else frame
            frame = side_by_side(fitted, skeleton_picture(control), picture) if arguments.side_by_side else picture
        yield frame
