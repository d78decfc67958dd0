"""Settings of the model: networks, codec, pretrained weights, noise schedule, conditions and sampling."""

import math
from typing import Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from hia.config.data import MapName
from hia.config.types import STRICT, PathOrName


@dataclass(config=STRICT, frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of the three UNet-like networks; the defaults are those of Stable Diffusion 1.5.

    pose_branch: the entrance of the control image: the paper's ControlNet, or a pose guider, a few convolutions whose
    output is added behind the denoiser's first one (AnimateAnyone; one guider for each kind of picture: Champ). Stages
    name it among what they train.
    """

    block_out_channels: tuple[PositiveInt, ...] = (320, 640, 1280, 1280)
    attention_levels: tuple[bool, ...] = (True, True, True, False)
    layers_per_block: PositiveInt = 2
    num_attention_heads: PositiveInt = 8
    cross_attention_dim: PositiveInt = 768
    norm_num_groups: PositiveInt = 32
    pose_branch: Literal["controlnet", "pose_guider"] = "controlnet"
    motion_num_attention_heads: PositiveInt = 8
    motion_max_frames: PositiveInt = 32
    motion_mid_block: bool = True
    attention: Literal["sdpa", "xformers"] = "sdpa"

    def __post_init__(self) -> None:
        if len(self.attention_levels) != len(self.block_out_channels):
            raise ValueError(
                f"attention_levels has {len(self.attention_levels)} entries, block_out_channels "
                f"{len(self.block_out_channels)}: give one per level"
            )
        if not any(self.attention_levels):
            raise ValueError("attention_levels: at least one level needs attention, which reads the reference")
        for channels in self.block_out_channels:
            for key in ("norm_num_groups", "num_attention_heads", "motion_num_attention_heads"):
                if channels % getattr(self, key):
                    raise ValueError(f"block_out_channels: {channels} is not a multiple of {key}={getattr(self, key)}")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class CodecConfig:
    """Codec between images and latents.

    kind: `sd-vae` (diffusers AutoencoderKL), `taesd` (AutoencoderTiny) or `pixel` (space-to-depth, no weights).
    weights: folder or hub id; `factor`: pixels per latent side, for `pixel` only. `latents_mean` and
    `latents_std` standardise the latents per channel after the codec's own scaling.
    """

    kind: Literal["sd-vae", "taesd", "pixel"] = "sd-vae"
    weights: PathOrName = None
    factor: int | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    slicing: bool = False
    tiling: bool = False

    def __post_init__(self) -> None:
        if self.factor is not None and self.kind != "pixel":
            raise ValueError(f"factor belongs to the pixel codec; {self.kind} always has 8")
        if self.factor is not None and self.factor not in (1, 2, 4, 8, 16):
            raise ValueError(f"factor must be 1, 2, 4, 8 or 16, not {self.factor}")
        if (self.latents_mean is None) != (self.latents_std is None):
            raise ValueError("latents_mean and latents_std are given together or not at all")

    @property
    def pixels_per_latent(self) -> int:
        """Side of one latent in pixels: width and height must be multiples of it."""
        return (self.factor or 2) if self.kind == "pixel" else 8

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return 3 * self.pixels_per_latent**2 if self.kind == "pixel" else 4


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PretrainedConfig:
    """Weights to start from, each a folder or a hub id; None means random weights.

    `unet` is a Stable Diffusion 1.5 shaped folder (its UNet initialises the denoiser, the appearance encoder and,
    without `controlnet`, the ControlNet), `controlnet` one for skeletons (of which a pose guider takes the convolutions
    on the image), `motion` an AnimateDiff motion adapter. `model` is a model directory of ours, in place of the first
    two: its networks are trained further. `shipped:NAME` is a folder that comes with the presets. other_latents:
    accept a `model` that was trained on another codec's latents, too: its weights for people and poses are still of
    use, and it learns the meaning of the new latents in some hundred steps.
    """

    model: PathOrName = None
    unet: PathOrName = None
    controlnet: PathOrName = None
    motion: PathOrName = None
    image_encoder: PathOrName = None
    other_latents: bool = False

    def __post_init__(self) -> None:
        if self.model and (self.unet or self.controlnet):
            raise ValueError("model already has a UNet and a ControlNet: leave unet and controlnet out")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ScheduleConfig:
    """Noise schedule with the shifted SNR; `gamma: null` means 512·512 / (width·height), at most 1.

    gamma 1 is the default schedule. zero_terminal_snr: rescaled so that the last timestep is pure noise, as
    AnimateAnyone's and Champ's code have it; for v_prediction.
    """

    gamma: float | None = None
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: Literal["linear", "scaled_linear"] = "linear"
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if self.gamma is not None and not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], not {self.gamma}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"beta_start and beta_end need 0 < beta_start ≤ beta_end < 1, not {self.beta_start} and {self.beta_end}"
            )
        if self.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be at least 1, not {self.num_train_timesteps}")
        if self.zero_terminal_snr and (self.prediction_type == "epsilon" or self.num_train_timesteps < 2):
            raise ValueError(
                "zero_terminal_snr needs prediction_type v_prediction and several timesteps, not "
                f"{self.prediction_type} and {self.num_train_timesteps}: from pure noise, ε says nothing of the image"
            )


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ConditionsConfig:
    """Channels of the control image.

    sharpness_scale: percentiles of the data set, or ranks in the clip. feet: part of the skeleton. blur: draw the
    hands' movement and sharpness (paper sec. 3.2). maps: names of further pictures of each frame that the
    store may have, such as depth, normals and segmentation; those of a clip without are black.
    """

    sharpness_scale: Literal["dataset", "clip"] = "dataset"
    feet: bool = False
    blur: bool = True
    maps: tuple[MapName, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.maps)) < len(self.maps) or {"skeleton", "blur"} & set(self.maps):
            raise ValueError(f"maps need names of their own, not {', '.join(self.maps)}")

    @property
    def drawn_channels(self) -> dict[str, int]:
        """Number of channels by what they show, in order: those that are drawn from keypoints and hands."""
        return {"skeleton": 3, "blur": 3} if self.blur else {"skeleton": 3}

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by what they show, of the whole control image: the maps come last."""
        return self.drawn_channels | {name: 3 for name in self.maps}

    @property
    def num_channels(self) -> int:
        """Channels of the control image."""
        return sum(self.channels.values())


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SamplingConfig:
    """Inference, paper sec. 3.4. `scheduler` is any diffusers scheduler class that takes `trained_betas`."""

    scheduler: str = "DDIMScheduler"
    steps: int = 25
    guidance: Literal["none", "reference", "animation"] = "animation"
    guidance_scale: float = 3.5
    initial_noise: Literal["reference", "gaussian"] = "reference"
    window: int = 16
    overlap: int = 4
    shift_windows: bool = True
    window_batch: int = 1
    decode_batch: int = 4

    def __post_init__(self) -> None:
        for key in ("steps", "window", "window_batch", "decode_batch"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")
        if not 0 <= self.overlap < self.window:
            raise ValueError(f"overlap must lie in 0..{self.window - 1} (below window), not {self.overlap}")
        if not math.isfinite(self.guidance_scale) or self.guidance_scale < 0:
            raise ValueError(f"guidance_scale must be a number of at least 0, not {self.guidance_scale}")
