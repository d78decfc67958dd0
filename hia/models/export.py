"""One model directory: everything needed to animate, as safetensors and JSON.

hia.json                       format version, configuration (γ, prediction type, codec, preset, …), sharpness
                               percentiles, SHA-256 of every weight file
appearance_encoder/ controlnet/ unet/ codec/ image_encoder/ (optional)
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel, UNetMotionModel

from hia.conditions.blur import SharpnessScale
from hia.config import Config
from hia.config_files import ConfigError, parse_config
from hia.diffusion.schedule import NoiseSchedule
from hia.models.animator import Animator
from hia.models.codec import Codec, load_codec
from hia.models.image_encoder import ImageEncoder, load_image_encoder
from hia.models.reference import AppearanceEncoder

FORMAT_VERSION = 1
DESCRIPTION = "hia.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class AnimationModel:
    """What animates: the networks and all that training fixed and inference must share.

    sharpness: percentiles of the training set, None for a model that has not been trained.
    """

    config: Config
    animator: Animator
    codec: Codec
    image_encoder: ImageEncoder | None = None
    sharpness: SharpnessScale | None = None

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule of training, for inference too."""
        settings = asdict(self.config.schedule) | {"gamma": self.config.gamma}
        return NoiseSchedule(**settings)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "AnimationModel":
        """Move all networks (in place); the codec and the image encoder keep their type."""
        self.animator.to(device=device, dtype=dtype)
        self.codec.to(device)
        if self.image_encoder is not None:
            self.image_encoder.to(device)
        return self


def save_model(model: AnimationModel, directory: str | Path) -> None:
    """Write the model directory, aside first and then under its name; an existing one is replaced as a whole.

    Raises FileNotFoundError when the parent folder does not exist, FileExistsError when the name is taken by something
    that is not a model directory.
    """
    directory = Path(directory)
    if not directory.parent.is_dir():
        raise FileNotFoundError(f"{directory}: the folder {directory.parent} does not exist; create it first")
    if directory.exists() and not (directory / DESCRIPTION).is_file():
        raise FileExistsError(f"{directory} exists and is not a model directory; choose another name")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as name:
        aside = Path(name) / "model"
        aside.mkdir()
        _write(model, aside)
        if directory.exists():
            os.rename(directory, Path(name) / "replaced")
        os.rename(aside, directory)


def load_model(directory: str | Path) -> AnimationModel:
    """Read a model directory; a round trip through save_model is bit-equal.

    Raises FileNotFoundError when it is not a model directory, ValueError for another format version, an unusable
    configuration, or a weight file that is missing or not the one that was saved.
    """
    directory = Path(directory)
    description = _read_description(directory)
    _verify_files(directory, description["sha256"])
    try:
        config = parse_config(description["config"], source=f"{directory / DESCRIPTION}")
    except ConfigError as error:
        raise ValueError(f"{error}; was it written by another version of hia?") from None
    percentiles = description["sharpness"]
    encoder_folder = directory / "image_encoder"
    return AnimationModel(
        config=config,
        animator=_load_animator(directory, config, description["motion"], DTYPES[description["dtype"]]),
        codec=load_codec(directory / "codec"),
        image_encoder=load_image_encoder(str(encoder_folder)) if encoder_folder.is_dir() else None,
        sharpness=SharpnessScale(**percentiles) if percentiles else None,
    )


def _write(model: AnimationModel, folder: Path) -> None:
    animator = model.animator
    networks = {
        "appearance_encoder": animator.appearance_encoder.unet,
        "controlnet": animator.controlnet,
        "unet": animator.unet,
    }
    for name, network in networks.items():
        network.save_pretrained(folder / name, safe_serialization=True)
    model.codec.save(folder / "codec")
    if model.image_encoder is not None:
        model.image_encoder.save(folder / "image_encoder")
    # γ is written as the number that was used, so that no later rule can change it.
    config = replace(model.config, schedule=replace(model.config.schedule, gamma=model.config.gamma))
    description = {
        "format_version": FORMAT_VERSION,
        "motion": animator.has_motion,
        "dtype": str(animator.unet.dtype).removeprefix("torch."),
        "sharpness": asdict(model.sharpness) if model.sharpness else None,
        "config": asdict(config),
        "sha256": {str(file.relative_to(folder)): _sha256(file) for file in sorted(folder.rglob("*.safetensors"))},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _load_animator(directory: Path, config: Config, motion: bool, dtype: torch.dtype) -> Animator:
    unet_class = UNetMotionModel if motion else UNet2DConditionModel
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "torch_dtype": dtype}
    animator = Animator(
        AppearanceEncoder(UNet2DConditionModel.from_pretrained(directory / "appearance_encoder", **options)),
        ControlNetModel.from_pretrained(directory / "controlnet", **options),
        unet_class.from_pretrained(directory / "unet", **options),
        attention=config.network.attention,
    )
    # The weights lie in the mapped file, unaligned: in memory of their own, they give the same rounding as before
    # saving, and the file may be replaced while the model is in use.
    for parameter in animator.parameters():
        parameter.data = parameter.data.clone()
    return animator


def _read_description(directory: Path) -> dict[str, Any]:
    file = directory / DESCRIPTION
    if not file.is_file():
        raise FileNotFoundError(f"{directory} is not a model directory: there is no {DESCRIPTION} in it")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        version = description["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a model description ({error})") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"{file}: format version {version}; this version of hia reads {FORMAT_VERSION}")
    if missing := {"motion", "dtype", "sharpness", "config", "sha256"} - set(description):
        raise ValueError(f"{file}: missing {', '.join(sorted(missing))}")
    if description["dtype"] not in DTYPES:
        raise ValueError(f"{file}: dtype must be one of {', '.join(DTYPES)}, not {description['dtype']!r}")
    return description


def _verify_files(directory: Path, expected: dict[str, str]) -> None:
    """Refuse a directory whose weights are not those that were saved."""
    found = {str(file.relative_to(directory)) for file in directory.rglob("*.safetensors")}
    for name in sorted(found | set(expected)):
        if name not in expected:
            raise ValueError(f"{directory}: {name} was not saved with this model")
        if name not in found:
            raise ValueError(f"{directory}: {name} is missing")
        if _sha256(directory / name) != expected[name]:
            raise ValueError(f"{directory}: {name} has been altered (its SHA-256 is not the saved one)")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
