"""One model directory: everything needed to animate, as safetensors and JSON.

hia.json                       format version, configuration (γ, prediction type, codec, preset, …), sharpness
                               percentiles, SHA-256 of every other file
appearance_encoder/ controlnet/ (or pose_guider/) unet/ codec/ image_encoder/ (optional)
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import ControlNetModel, UNet2DConditionModel, UNetMotionModel
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from hia.conditions.blur import SharpnessScale
from hia.config import Config, ConfigError, parse_config
from hia.config.loading import explain
from hia.diffusion.schedule import NoiseSchedule
from hia.io.files import atomic_directory
from hia.io.hashing import file_sha256
from hia.models.animator import Animator
from hia.models.codec import Codec, load_codec
from hia.models.image_encoder import ImageEncoder, load_image_encoder
from hia.models.pose_guider import PoseGuider
from hia.models.reference import AppearanceEncoder

FORMAT_VERSION = 1
DESCRIPTION = "hia.json"
SUFFIXES = (".json", ".safetensors")


@pydantic_dataclass(config=ConfigDict(extra="forbid"), frozen=True, kw_only=True)
class Description:
    """The contents of hia.json."""

    format_version: int
    motion: bool
    dtype: dict[str, Literal["float32", "bfloat16", "float16"]]
    sharpness: SharpnessScale | None
    config: dict[str, Any]
    sha256: dict[str, str]


@dataclass(frozen=True)
class AnimationModel:
    """The animation model: the networks, and all that training fixed and inference must share.

    sharpness: percentiles of the training set, None for a model that has not been trained.
    Raises ValueError when the image encoder's token is not as wide as the networks read.
    """

    config: Config
    animator: Animator
    codec: Codec
    image_encoder: ImageEncoder | None = None
    sharpness: SharpnessScale | None = None

    def __post_init__(self) -> None:
        width = self.animator.image_token_dim
        if self.image_encoder is not None and self.image_encoder.dimension != width:
            raise ValueError(
                f"the image encoder's token has {self.image_encoder.dimension} channels, the networks read {width}: "
                "set network.cross_attention_dim, or another pretrained.image_encoder"
            )

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule of training, for inference too."""
        return NoiseSchedule.of(self.config)

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
    directory = Path(directory).resolve()
    check_destination(directory)
    with atomic_directory(directory) as aside:
        _write(model, aside)


def check_destination(directory: Path) -> None:
    """Raise FileNotFoundError or FileExistsError where `save_model` would not write."""
    if not directory.absolute().parent.is_dir():
        raise FileNotFoundError(f"{directory}: the folder {directory.parent} does not exist; create it first")
    if directory.exists() and not (directory / DESCRIPTION).is_file():
        raise FileExistsError(f"{directory} exists and is not a model directory; choose another name")


def load_model(directory: str | Path, attention: str = "sdpa") -> AnimationModel:
    """Read a model directory; a round trip through save_model is bit-equal.

    attention: `sdpa` or `xformers`, whatever kernel training used: it is no property of the weights.

    Raises FileNotFoundError when it is not a model directory, ValueError for another format version, an unusable
    configuration, or a file that is missing, added or not the one that was saved.
    """
    directory = Path(directory)
    animator, config, description = _read(directory, attention)
    encoder_folder = directory / "image_encoder"
    return AnimationModel(
        config=config,
        animator=animator,
        codec=load_codec(directory / "codec"),
        image_encoder=load_image_encoder(str(encoder_folder)) if encoder_folder.is_dir() else None,
        sharpness=description.sharpness,
    )


def load_animator(directory: str | Path) -> tuple[Animator, Config]:
    """Only the networks that are trained, and the configuration; raises what `load_model` does."""
    return _read(Path(directory), "sdpa")[:2]


def _read(directory: Path, attention: str) -> tuple[Animator, Config, Description]:
    description = _read_description(directory)
    _verify_files(directory, description.sha256)
    try:
        config = parse_config(description.config, source=f"{directory / DESCRIPTION}")
    except ConfigError as error:
        raise ValueError(f"{error}; was it written by another version of hia?") from None
    for part in ("appearance_encoder", config.network.pose_branch, "unet"):
        if part not in description.dtype:
            raise ValueError(f"{directory / DESCRIPTION}: there is no {part}, which its own configuration asks for")
    pose_part = config.network.pose_branch
    return _load_animator(directory, pose_part, description.motion, description.dtype, attention), config, description


def _write(model: AnimationModel, folder: Path) -> None:
    animator = model.animator
    networks = {
        "appearance_encoder": animator.appearance_encoder.unet,
        animator.pose_part: animator.pose_branch,
        "unet": animator.unet,
    }
    for name, network in networks.items():
        network.register_to_config(_name_or_path="")  # or the file would have a path of this machine
        network.save_pretrained(folder / name, safe_serialization=True)
    model.codec.save(folder / "codec")
    if model.image_encoder is not None:
        model.image_encoder.save(folder / "image_encoder")
    # γ is written as the number that was used, so that no later rule can change it.
    config = replace(model.config, schedule=replace(model.config.schedule, gamma=model.config.gamma))
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in files:
        file.chmod(0o644)  # safetensors are written for their owner alone
    dtypes: dict[str, Any] = {name: str(network.dtype).removeprefix("torch.") for name, network in networks.items()}
    description = Description(
        format_version=FORMAT_VERSION,
        motion=animator.has_motion,
        dtype=dtypes,
        sharpness=model.sharpness,
        config=asdict(config),
        sha256={str(file.relative_to(folder)): file_sha256(file) for file in files},
    )
    (folder / DESCRIPTION).write_text(json.dumps(asdict(description), indent=2) + "\n", encoding="utf-8")


def _load_animator(
    directory: Path, pose_part: str, motion: bool, dtypes: Mapping[str, str], attention: str
) -> Animator:
    def load(network_class: Any, name: str) -> Any:
        dtype = getattr(torch, dtypes[name])
        return network_class.from_pretrained(
            directory / name, use_safetensors=True, local_files_only=True, torch_dtype=dtype
        )

    animator = Animator(
        AppearanceEncoder(load(UNet2DConditionModel, "appearance_encoder")),
        load(PoseGuider if pose_part == "pose_guider" else ControlNetModel, pose_part),
        load(UNetMotionModel if motion else UNet2DConditionModel, "unet"),
        attention,
    )
    # The weights lie in the mapped file, unaligned: in memory of their own, they give the same rounding as before
    # saving, and the file may be replaced while the model is in use.
    for parameter in animator.parameters():
        parameter.data = parameter.data.clone()
    return animator


def _read_description(directory: str | Path) -> Description:
    """Read and check the description of a model directory. Raises FileNotFoundError or ValueError as `load_model`."""
    file = Path(directory) / DESCRIPTION
    if not file.is_file():
        raise FileNotFoundError(f"{directory} is not a model directory: there is no {DESCRIPTION} in it")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        version = values["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: not a model description ({error})") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"{file}: format version {version}; this version of hia reads {FORMAT_VERSION}")
    try:
        return TypeAdapter(Description).validate_python(values)
    except ValidationError as error:
        raise ValueError(f"{file}: {explain(error)}") from None


def _verify_files(directory: Path, expected: dict[str, str]) -> None:
    """Raise ValueError unless the directory has exactly the files that were saved."""
    found = {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()} - {DESCRIPTION}
    for name in sorted(found | set(expected)):
        if name not in expected:
            raise ValueError(f"{directory}: {name} was not saved with this model")
        if Path(name).suffix not in SUFFIXES:
            raise ValueError(f"{directory}: {name} has no place in a model directory: safetensors and JSON only")
        if name not in found:
            raise ValueError(f"{directory}: {name} is missing")
        if file_sha256(directory / name) != expected[name]:
            raise ValueError(f"{directory}: {name} has been altered (its SHA-256 is not the saved one)")
