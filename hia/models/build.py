"""Building of animators: from random weights, Stable Diffusion 1.5 shaped folders, or an earlier model."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import nn

from hia.config import Config, NetworkConfig
from hia.console import only_errors_logged
from hia.models.animation_model import load_animator
from hia.models.animator import Animator
from hia.models.parts import LoadReport, load_part, part_parameters
from hia.models.pose_branch import adopt_pose_branch, build_pose_branch
from hia.models.reference import AppearanceEncoder
from hia.weights.find import find_weights
from hia.weights.load import load_pretrained


def build_animator(config: Config, motion: bool = False) -> tuple[Animator, LoadReport]:
    """Build the animator of a configuration; returns it with a report on its weights.

    Random weights are drawn from `config.seed`. The motion layers (if wanted) start as the identity, so the
    temporal stages begin with the spatial model's output.
    Raises MissingWeights for weights that cannot be found and ValueError for weights of another shape.
    """
    report = LoadReport()
    with _seeded(config.seed):
        unet = _unet(config, report)
        pose_branch = build_pose_branch(config, unet, report)
    appearance_encoder = AppearanceEncoder(copy.deepcopy(unet))
    animator = Animator(appearance_encoder, pose_branch, unet, attention=config.network.attention)
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
    with _seeded(config.seed), only_errors_logged("diffusers.models.modeling_utils"):
        motion_unet = UNetMotionModel.from_unet2d(unet, _motion_adapter(config, report))
    for name, parameter in motion_unet.named_parameters():
        if ".motion_modules." in name and ".proj_out." in name:
            nn.init.zeros_(parameter)
    motion_unet.to(unet.device)
    return Animator(animator.appearance_encoder, animator.pose_branch, motion_unet, attention=animator.attention)


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


def _start_from(animator: Animator, source: str, config: Config, report: LoadReport) -> None:
    """Copy what a model directory has of the animator's parts into it.

    Raises ValueError when it was trained on other latents (unless `other_latents` allows that) or to predict another
    quantity, or when its networks have another shape.
    """
    directory = find_weights(source, hint="a model directory, as training exports it or `hia build` makes it")
    start, trained = load_animator(directory)
    for key in ("kind", "factor", "latents_mean", "latents_std"):
        ours, theirs = getattr(config.codec, key), getattr(trained.codec, key)
        if ours != theirs and not config.pretrained.other_latents:
            raise ValueError(
                f"pretrained.model {source} was trained on latents of another codec (codec.{key} is {theirs}, "
                f"configured {ours}): use its codec, set pretrained.model=null, or pretrained.other_latents=true "
                "to have it learn these"
            )
    if trained.schedule.prediction_type != config.schedule.prediction_type:
        raise ValueError(
            f"pretrained.model {source} predicts {trained.schedule.prediction_type}, configured is "
            f"schedule.prediction_type={config.schedule.prediction_type}: set the one, or pretrained.model=null"
        )
    both = start.has_motion and animator.has_motion
    for part in ("appearance_encoder", "unet", *(["motion"] if both else [])):
        load_part(animator, part, part_parameters(start, part), f"pretrained.model {source}")
        report.loaded[part] = source
        report.new.pop(part, None)
    new = adopt_pose_branch(animator, config, start, trained, f"pretrained.model {source}")
    report.loaded[animator.pose_part] = source
    report.new.pop(animator.pose_part, None)
    if new is not None:
        report.new[animator.pose_part] = (new,)


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
