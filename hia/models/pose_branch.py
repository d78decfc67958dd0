"""The pose branch of a configuration: its shape, and the weights that it starts from.

Pretrained weights may have been made for other channels of the control image. Convolutions are matched channel by
channel, by name; new channels get zero weights, so that the output at step 0 is unchanged.
"""

from collections.abc import Mapping

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from hia.config import ConditionsConfig, Config
from hia.models.animator import Animator
from hia.models.parts import LoadReport, load_part, part_parameters
from hia.models.pose_guider import PoseGuider
from hia.weights.load import load_pretrained

STEM = "controlnet_cond_embedding"
READS_CONTROL = "conv_in.weight"
DRAWN = "drawn"


def build_pose_branch(config: Config, unet: UNet2DConditionModel, report: LoadReport) -> ControlNetModel | PoseGuider:
    """The configured pose branch, from `pretrained.controlnet` if there is one.

    A pose guider takes the convolutions with which that ControlNet reads its image, except the last, which is zero.
    Raises MissingWeights for weights that cannot be found and ValueError for those of another shape.
    """
    return (_controlnet if config.network.pose_branch == "controlnet" else _pose_guider)(config, unet, report)


def adopt_pose_branch(animator: Animator, config: Config, start: Animator, trained: Config, source: str) -> str | None:
    """Copy the weights of another model's pose branch, as far as they fit.

    Returns a description of what stays new, or None. Raises ValueError naming `source` when shapes differ.
    """
    ours, theirs = config.conditions, trained.conditions
    if animator.controlnet is not None and start.controlnet is not None:
        weights: dict[str, Tensor] = dict(part_parameters(start, "controlnet"))
        key = f"controlnet.{STEM}.{READS_CONTROL}"
        weights[key] = _matched(weights[key], theirs.channels, ours.channels)
        load_part(animator, "controlnet", weights, source)
    elif animator.controlnet is not None:
        return "all (the model to start from has a pose guider)"
    elif start.controlnet is not None:
        drawn = theirs.channels, ours.drawn_channels
        _copy_stem(_guiders(animator, ours)[DRAWN], _stem(start.controlnet), *drawn, source)
        return "its last convolutions (zero), and the guiders of maps"
    else:
        known = _guiders(start, theirs)
        for name, guider in _guiders(animator, ours).items():
            if name in known:
                channels = (theirs.drawn_channels, ours.drawn_channels) if name == DRAWN else ({name: 3}, {name: 3})
                _copy_stem(guider, known[name], *channels, source, whole=True)
    return _unmatched(theirs, ours)


def _controlnet(config: Config, unet: UNet2DConditionModel, report: LoadReport) -> ControlNetModel:
    """A ControlNet for the control channels, from a pretrained three-channel one if configured."""
    controlnet = ControlNetModel.from_unet(
        unet,
        conditioning_channels=config.conditions.num_channels,
        conditioning_embedding_out_channels=_widths(config),
    )
    source = config.pretrained.controlnet
    if source is None:
        if config.pretrained.unet:
            report.loaded["controlnet"] = f"{config.pretrained.unet} (its UNet's encoder)"
        new = [name for name, _ in controlnet.named_parameters() if name.startswith("controlnet_")]
        report.new["controlnet"] = tuple(new) if config.pretrained.unet else ("all (random)",)
        return controlnet
    state = _pretrained(source).state_dict()
    key = f"{STEM}.{READS_CONTROL}"
    state[key] = _matched(state[key], {"skeleton": state[key].shape[1]}, config.conditions.channels)
    _load(controlnet, state, source)
    report.loaded["controlnet"] = source
    if new_channels := _unmatched(None, config.conditions):
        report.new["controlnet"] = (new_channels,)
    return controlnet


def _pose_guider(config: Config, unet: UNet2DConditionModel, report: LoadReport) -> PoseGuider:
    conditions = config.conditions
    groups = (sum(conditions.drawn_channels.values()), *(3 for _ in conditions.maps))
    guider = PoseGuider(groups, unet.config.block_out_channels[0], _widths(config))
    source = config.pretrained.controlnet
    if source is None:
        report.new["pose_guider"] = ("all (random, last convolutions zero)",)
        return guider
    stem = _stem(_pretrained(source))
    channels = {"skeleton": stem.get_parameter(READS_CONTROL).shape[1]}
    _copy_stem(guider.guiders[0], stem, channels, conditions.drawn_channels, source)
    report.loaded["pose_guider"] = f"{source} (its image's convolutions)"
    report.new["pose_guider"] = ("the last convolutions (zero)", *(f"the guider of {name}" for name in conditions.maps))
    return guider


def _widths(config: Config) -> tuple[int, ...]:
    """Widths of the convolutions on the control image, one halving between neighbours: 8 pixels per latent is stock."""
    halvings = config.codec.pixels_per_latent.bit_length() - 1
    return (16, 32, 96, 256, 256)[: halvings + 1]


def _pretrained(source: str) -> ControlNetModel:
    hint = "a ControlNet folder or hub id, such as lllyasviel/control_v11p_sd15_openpose"
    return load_pretrained(ControlNetModel, source, subfolder="controlnet", hint=hint)


def _stem(controlnet: nn.Module) -> nn.Module:
    return controlnet.get_submodule(STEM)


def _guiders(animator: Animator, conditions: ConditionsConfig) -> dict[str, nn.Module]:
    """A pose guider's guiders by what they look at: the drawn channels, each of the maps."""
    assert animator.pose_guider is not None
    return dict(zip((DRAWN, *conditions.maps), animator.pose_guider.guiders, strict=True))


def _copy_stem(
    guider: nn.Module,
    stem: nn.Module,
    known: Mapping[str, int],
    wanted: Mapping[str, int],
    source: str,
    whole: bool = False,
) -> None:
    """Copy a ControlNet's or a guider's convolutions into a guider; the last one only if `whole`."""
    state = dict(stem.state_dict())
    state[READS_CONTROL] = _matched(state[READS_CONTROL], known, wanted)
    if not whole:
        state |= {key: value for key, value in guider.state_dict().items() if key.startswith("conv_out.")}
    _load(guider, state, source)


def _matched(weight: Tensor, known: Mapping[str, int], wanted: Mapping[str, int]) -> Tensor:
    """Weights [C, K, 3, 3] over known channels → over the wanted ones, zero where they are new."""
    parts = dict(zip(known, weight.split(list(known.values()), dim=1), strict=True))
    missing = {name: weight.new_zeros(len(weight), number, *weight.shape[2:]) for name, number in wanted.items()}
    return torch.cat([parts.get(name, missing[name]) for name in wanted], dim=1)


def _unmatched(known: ConditionsConfig | None, wanted: ConditionsConfig) -> str | None:
    """The wanted channels that are not known, in words."""
    new = [name for name in wanted.channels if name not in (known.channels if known else {"skeleton"})]
    return f"input channels of {', '.join(new)} (zero)" if new else None


def _load(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit the pose branch: {error}") from None
