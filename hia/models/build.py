"""Build an animator: from random weights, or from a Stable Diffusion 1.5 shaped folder and friends."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from diffusers import ControlNetModel, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import nn

from hia.conditions.control import CONTROL_CHANNELS
from hia.config import Config, NetworkConfig
from hia.models.animator import Animator
from hia.models.export import load_animator
from hia.models.parts import load_part, part_parameters
from hia.models.reference import AppearanceEncoder
from hia.quiet import only_errors
from hia.weights import find_weights, load_pretrained


@dataclass(frozen=True)
class LoadReport:
    """Where the weights of each module came from: every key is either loaded or listed as new."""

    loaded: dict[str, str] = field(default_factory=dict)
    new: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{module}: from {source}" for module, source in self.loaded.items()]
        for module, keys in self.new.items():
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            lines.append(f"{module}: new {shown}")
        return "\n".join(lines)


def build_animator(config: Config, motion: bool = False) -> tuple[Animator, LoadReport]:
    """The animator of a configuration and the account of its weights.

    Random weights are drawn from `config.seed`. The motion layers (if asked for) start as the identity, so the
    temporal stages begin with the spatial model's output.
    Raises MissingWeights for weights that cannot be found and ValueError for weights of another shape.
    """
    report = LoadReport()
    with _seeded(config.seed):
        unet = _unet(config, report)
        controlnet = _controlnet(config, unet, report)
    appearance_encoder = AppearanceEncoder(copy.deepcopy(unet))
    animator = Animator(appearance_encoder, controlnet, unet, attention=config.network.attention)
    animator = add_motion(animator, config, report) if motion else animator
    if config.pretrained.model:
        _start_from(animator, config.pretrained.model, config, report)
    return animator, report


def add_motion(animator: Animator, config: Config, report: LoadReport | None = None) -> Animator:
    """The animator with motion layers in its denoiser, which leave every frame unchanged at first.

    Their output projections are zero, for pretrained motion layers too: over a fine-tuned UNet those would otherwise
    start from noise. Random weights are drawn from `config.seed`. Those of `pretrained.model` are not loaded here.
    """
    report = report or LoadReport()
    unet = animator.unet
    if not isinstance(unet, UNet2DConditionModel):
        raise ValueError("this animator has motion layers already")
    # from_unet2d always warns of casting an empty list of modules.
    with _seeded(config.seed), only_errors("diffusers.models.modeling_utils"):
        motion_unet = UNetMotionModel.from_unet2d(unet, _motion_adapter(config, report))
    for name, parameter in motion_unet.named_parameters():
        if ".motion_modules." in name and ".proj_out." in name:
            nn.init.zeros_(parameter)
    motion_unet.to(unet.device)
    return Animator(animator.appearance_encoder, animator.controlnet, motion_unet, attention=animator.attention)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# --------------------------------------------------------------------------------------------------- the modules


def _unet(config: Config, report: LoadReport) -> UNet2DConditionModel:
    expected = _unet_settings(config.network, config.codec.latent_channels)
    source = config.pretrained.unet
    if source is None:
        report.new["unet"] = report.new["appearance_encoder"] = ("all (random)",)
        return UNet2DConditionModel(**expected)
    hint = "a Stable Diffusion 1.5 folder or hub id, with unet/ in it"
    unet = load_pretrained(UNet2DConditionModel, source, subfolder="unet", hint=hint)
    _refuse_differences("unet", source, expected, unet.config)
    report.loaded["unet"] = report.loaded["appearance_encoder"] = source
    return unet


def _controlnet(config: Config, unet: UNet2DConditionModel, report: LoadReport) -> ControlNetModel:
    """A ControlNet for the six control channels, from a pretrained three-channel one if configured.

    The added input channels have zero weights, so a pretrained pose ControlNet is unchanged at step 0.
    """
    widths = _conditioning_widths(config.codec.pixels_per_latent)
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_channels=CONTROL_CHANNELS, conditioning_embedding_out_channels=widths
    )
    source = config.pretrained.controlnet
    if source is None:
        if config.pretrained.unet:
            report.loaded["controlnet"] = f"{config.pretrained.unet} (its UNet's encoder)"
        new = [name for name, _ in controlnet.named_parameters() if name.startswith("controlnet_")]
        report.new["controlnet"] = tuple(new) if config.pretrained.unet else ("all (random)",)
        return controlnet
    hint = "a ControlNet folder or hub id, such as lllyasviel/control_v11p_sd15_openpose"
    pretrained = load_pretrained(ControlNetModel, source, subfolder="controlnet", hint=hint)
    report.loaded["controlnet"] = source
    report.new["controlnet"] = ("controlnet_cond_embedding.conv_in.weight[:, 3:] (zero)",)
    state = pretrained.state_dict()
    key = "controlnet_cond_embedding.conv_in.weight"
    extended = torch.zeros_like(controlnet.controlnet_cond_embedding.conv_in.weight)
    extended[:, : state[key].shape[1]] = state[key]
    try:
        controlnet.load_state_dict(state | {key: extended})
    except RuntimeError as error:
        raise ValueError(f"pretrained.controlnet {source} does not fit the UNet: {error}") from None
    return controlnet


def _start_from(animator: Animator, source: str, config: Config, report: LoadReport) -> None:
    """Copy what a model directory has of the animator's parts into it.

    Raises ValueError when it speaks of other latents, or its networks have another shape.
    """
    directory = find_weights(source, hint="a model directory, as training exports it or `hia build` makes it")
    start, trained = load_animator(directory)
    for key in ("kind", "factor", "latents_mean", "latents_std"):
        ours, theirs = getattr(config.codec, key), getattr(trained.codec, key)
        if ours != theirs:
            raise ValueError(
                f"pretrained.model {source} was trained on latents of another codec (codec.{key} is {theirs}, "
                f"configured {ours}): use its codec, or set pretrained.model=null"
            )
    if trained.schedule.prediction_type != config.schedule.prediction_type:
        raise ValueError(
            f"pretrained.model {source} predicts {trained.schedule.prediction_type}, configured is "
            f"schedule.prediction_type={config.schedule.prediction_type}: set the one, or pretrained.model=null"
        )
    both = start.has_motion and animator.has_motion
    for part in ("appearance_encoder", "controlnet", "unet", *(["motion"] if both else [])):
        load_part(animator, part, part_parameters(start, part), f"pretrained.model {source}")
        report.loaded[part] = source
        report.new.pop(part, None)


def _motion_adapter(config: Config, report: LoadReport) -> MotionAdapter:
    network, source = config.network, config.pretrained.motion
    expected = {
        "block_out_channels": network.block_out_channels,
        "motion_layers_per_block": network.layers_per_block,
        "motion_num_attention_heads": network.motion_num_attention_heads,
        "motion_norm_num_groups": network.norm_num_groups,
        "motion_max_seq_length": network.motion_max_frames,
        "use_motion_mid_block": network.motion_mid_block,
    }
    if source is None:
        report.new["motion"] = ("all (random, output projections zero)",)
        return MotionAdapter(**expected)
    hint = "an AnimateDiff motion adapter in diffusers' layout, such as guoyww/animatediff-motion-adapter-v1-5-2"
    adapter = load_pretrained(MotionAdapter, source, subfolder="motion_adapter", hint=hint)
    _refuse_differences("motion", source, expected, adapter.config)
    report.loaded["motion"] = source
    report.new["motion"] = ("proj_out of every layer (zero)",)
    return adapter


def _unet_settings(network: NetworkConfig, latent_channels: int) -> dict[str, object]:
    """UNet2DConditionModel's arguments for our network shape."""
    levels = network.attention_levels
    return {
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "block_out_channels": network.block_out_channels,
        "layers_per_block": network.layers_per_block,
        "attention_head_dim": network.num_attention_heads,  # diffusers' name for the number of heads
        "cross_attention_dim": network.cross_attention_dim,
        "norm_num_groups": network.norm_num_groups,
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in levels),
        "up_block_types": tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(levels)),
    }


def _conditioning_widths(pixels_per_latent: int) -> tuple[int, ...]:
    """Widths of the ControlNet's image stem, one halving between neighbours: 8 pixels per latent is the stock stem."""
    halvings = pixels_per_latent.bit_length() - 1
    return (16, 32, 96, 256, 256)[: halvings + 1]


def _refuse_differences(module: str, source: str, expected: dict[str, object], found: dict[str, object]) -> None:
    def plain(value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    differences = [
        f"{key} is {plain(found[key])}, configured {value}"
        for key, value in expected.items()
        if plain(found[key]) != plain(value)
    ]
    if differences:
        raise ValueError(f"pretrained.{module} {source} has another shape than network: {'; '.join(differences)}")
