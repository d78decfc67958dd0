"""Make a model directory from a preset or configuration file: pretrained weights where it names them, else random."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("config", help="name of a preset, or .yaml file")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="model directory to write")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value; may be repeated"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model directory, all of it")
    parser.add_argument("--no-motion", action="store_true", help="leave the motion layers out (a spatial-stage model)")


def run(arguments: argparse.Namespace) -> None:
    """Build and save. Raises ValueError, MissingWeights or OSError with a message for the user."""
    from hia.config import load_config

    config = load_config(arguments.config, arguments.set)

    from hia.diffusion.schedule import NoiseSchedule
    from hia.models.animation_model import AnimationModel, check_destination, save_model
    from hia.models.build import build_animator
    from hia.models.codec import build_codec
    from hia.models.image_encoder import load_image_encoder

    check_destination(arguments.output)
    if arguments.output.exists() and not arguments.overwrite:
        raise FileExistsError(f"{arguments.output} exists; choose another name, or replace it with --overwrite")
    NoiseSchedule.of(config).scheduler(config.sampling.scheduler)
    codec = build_codec(config.codec)
    source = config.pretrained.image_encoder
    image_encoder = load_image_encoder(source) if source else None
    animator, report = build_animator(config, motion=not arguments.no_motion)
    save_model(AnimationModel(config, animator, codec, image_encoder), arguments.output)
    print(report)
    print(f"model directory: {arguments.output}")
