"""Train the spatial starting weights of the quickstart preset on generated dancers, on a CPU.

python -m experiments.starting_weights.animator --work FOLDER --codec FOLDER [--steps N]       train, or go on training
python -m experiments.starting_weights.animator --work FOLDER --codec FOLDER --export FOLDER   write averaged weights
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from experiments.starting_weights import dancers
from hia.conditions.blur import SharpnessScale
from hia.config import Config, Stage, parse_config
from hia.config.stages import SPATIAL
from hia.data.preprocess.build_store import build_store
from hia.data.sampling import TrainingSamples
from hia.data.sampling.loader import sample_batches
from hia.data.store.clip_store import ClipStore
from hia.diffusion.schedule import NoiseSchedule
from hia.io.files import atomic_write
from hia.models.animation_model import AnimationModel, save_model
from hia.models.animator import Animator
from hia.models.build import build_animator
from hia.models.codec import load_codec
from hia.models.reference import ReferenceAttention
from hia.training.batch import Batch, to_batch
from hia.training.step import training_loss

SEED = 1201
STEPS = 4600
HALF_SIZE_STEPS = 1000
"""First steps, all at half size: four times as many samples in the same time."""
HALF_SIZE_EVERY = 6
"""Afterwards, one step in so many is at half size, for the temporal stage that works there."""
BATCH = {0.5: 24, 1.0: 8}
LEARNING_RATE = 8e-4
WARM_UP, DECAY = 200, 500
"""Steps of rising and, at the end, of falling learning rate."""
AVERAGE = 0.999
STATE = "animator_state.pt"

SETTINGS = {
    "preset": "quickstart",
    "width": dancers.WIDTH,
    "height": dancers.HEIGHT,
    "seed": SEED,
    "network": {
        "block_out_channels": (48, 64, 48),
        "attention_levels": (True, True, True),
        "layers_per_block": 1,
        "num_attention_heads": 2,
        "motion_num_attention_heads": 4,
        "cross_attention_dim": 32,
        "norm_num_groups": 16,
    },
    "schedule": {"prediction_type": "v_prediction"},
    "face_embedder": None,
    "preprocess": {"latents": True, "face_embedding_every": 0, "image_tokens": False, "hands_seen": 0.0},
    "stages": {"regional": {"losses": {"identity": 0.0}}},
    "sampling": {"steps": 10, "window": 8, "overlap": 2, "guidance_scale": 1.0},
}


def configuration(codec: Path) -> Config:
    """The quickstart's shape of network, with the codec of a folder that `Codec.save` wrote."""
    codec_settings = load_codec(codec).config
    moments = {"latents_mean": codec_settings.latents_mean, "latents_std": codec_settings.latents_std}
    return parse_config(SETTINGS | {"codec": {"kind": "taesd", "weights": str(codec.absolute())} | moments})


def new_animator(config: Config) -> Animator:
    """Random weights, of which the ControlNet's are scaled so that it acts from the first step.

    Its stock start (zero output layers behind a stem that passes a thousandth of the input's contrast) protects a
    trained denoiser; here there is none, and the skeleton would be noticed thousands of steps later.
    """
    animator, _ = build_animator(config)
    controlnet = animator.controlnet
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        for module in controlnet.controlnet_cond_embedding.modules():
            _scale(module, 1.4)
        for module in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            _scale(module, 0.3)
    return animator


def _scale(module: nn.Module, gain: float) -> None:
    """Random weights of a convolution whose output has about `gain` times the size of its input."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=gain / fan_in**0.5)
        nn.init.zeros_(module.bias)


def attend_quickly(animator: Animator) -> None:
    """Spatial attention written out: on a CPU, in bfloat16, it takes 60 % of the time of PyTorch's kernel."""
    for network in (animator.appearance_encoder.unet, animator.controlnet, animator.unet):
        for name, module in network.named_modules():
            if isinstance(module, Attention) and ".attentions." in name:
                module.set_processor(ReferenceAttention(name, _attend))


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query * scale, key, value))
    return ((query @ key.transpose(-1, -2)).softmax(dim=-1).to(value) @ value).transpose(1, 2)


# -------------------------------------------------------------------------------------------------------- samples


def store_of_dancers(work: Path, config: Config) -> ClipStore:
    """Clips of all training dancers, with latents; made when they are not there yet."""
    chosen = dancers.CODEC, dancers.ANIMATOR
    videos = [str(video) for those in chosen for video in dancers.render(work / "dancers", those)]
    return build_store(videos, str(work / "store"), config, progress=True).store


def scale_of_step(step: int) -> float:
    """Share of the full size at which a step trains."""
    return 0.5 if step < HALF_SIZE_STEPS or step % HALF_SIZE_EVERY == 0 else 1.0


def batches(store: ClipStore, config: Config, steps: range) -> Iterator[tuple[Stage, Batch]]:
    """Yield the batch of each step and its stage; the same for a step however often the training is resumed."""
    stages = {scale: replace(SPATIAL, resolution_scale=scale) for scale in BATCH}
    streams = {}
    for scale, stage in stages.items():
        positions = [range(n * BATCH[scale], (n + 1) * BATCH[scale]) for n in steps if scale_of_step(n) == scale]
        streams[scale] = sample_batches(TrainingSamples(store, config, stage, SEED), positions, workers=0)
    for step in steps:
        scale = scale_of_step(step)
        yield stages[scale], to_batch(next(streams[scale]), "cpu", config.network.cross_attention_dim)


# -------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Trained:
    """An animator in training and its running average."""

    animator: Animator
    averaged: Animator
    optimizer: torch.optim.Optimizer

    @classmethod
    def start(cls, config: Config) -> "Trained":
        """Start from random weights."""
        animator, averaged = new_animator(config), new_animator(config)
        optimizer = torch.optim.AdamW(animator.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)
        return cls(animator, averaged.requires_grad_(False), optimizer)

    def load(self, file: Path) -> int:
        """Go on from a saved state, if there is one; returns the number of steps done."""
        if not file.is_file():
            return 0
        state = torch.load(file, weights_only=True)
        self.animator.load_state_dict(state["animator"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["step"]

    def save(self, file: Path, step: int) -> None:
        """Write the state atomically."""
        parts = {name: getattr(self, name).state_dict() for name in ("animator", "averaged", "optimizer")}
        with atomic_write(file) as aside:
            torch.save(parts | {"step": step}, aside)

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Move the average towards the weights; at first faster, to forget the random ones."""
        weight = max(1 - AVERAGE, 9 / (10 + step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.animator.parameters()), weight)


def learning_rate(step: int, steps: int) -> float:
    """Risen to a constant, and falling to a twentieth over the last steps."""
    falling = max(0.05, min(1.0, (steps - step) / DECAY))
    return LEARNING_RATE * min((step + 1) / WARM_UP, falling)


def train(store: ClipStore, config: Config, work: Path, steps: int) -> None:
    """Train to the last step, saving the state on the way."""
    trained, schedule = Trained.start(config), _schedule(config)
    attend_quickly(trained.animator)
    first = trained.load(work / STATE)
    began, losses = time.monotonic(), {scale: 0.0 for scale in BATCH}
    for step, (stage, batch) in enumerate(batches(store, config, range(first, steps)), start=first):
        for group in trained.optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        generator = torch.Generator().manual_seed(SEED * 1_000_000 + step)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = training_loss(trained.animator, schedule, batch, stage, generator)
        _step(trained, loss, step)
        before = losses[stage.resolution_scale] or loss.item()
        losses[stage.resolution_scale] = 0.97 * before + 0.03 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            shown = ", ".join(f"×{scale:g} {value:.4f}" for scale, value in losses.items())
            print(f"step {step + 1}/{steps}: loss {shown}, {time.monotonic() - began:.0f} s", flush=True)
        if (step + 1) % 200 == 0 or step + 1 == steps:
            trained.save(work / STATE, step + 1)


def _step(trained: Trained, loss: Tensor, step: int) -> None:
    trained.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained.animator.parameters(), 1.0)
    trained.optimizer.step()
    trained.average(step)


def _schedule(config: Config) -> NoiseSchedule:
    return NoiseSchedule.of(config)


# ---------------------------------------------------------------------------------------------------------- result


def averaged_model(work: Path, config: Config, codec: Path, sharpness: SharpnessScale | None) -> AnimationModel:
    """The model with the averaged weights of the saved state, in half precision."""
    trained = Trained.start(config)
    if not trained.load(work / STATE):
        raise ValueError(f"{work / STATE}: there is no saved state; train first")
    # The codec travels with the model: the folder that it was read from, which both note, is of no interest.
    config = replace(config, codec=replace(config.codec, weights=None))
    loaded: Any = load_codec(codec).half()
    loaded.autoencoder.register_to_config(_name_or_path="")
    return AnimationModel(config, trained.averaged.half(), loaded, sharpness=sharpness)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for dancers, store and the resumable state")
    parser.add_argument("--codec", type=Path, required=True, help="folder of the codec")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps (%(default)s)")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="do not train, write the model directory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration(arguments.codec)
    store = store_of_dancers(arguments.work, config)
    if arguments.export:
        save_model(averaged_model(arguments.work, config, arguments.codec, store.sharpness_scale), arguments.export)
    else:
        train(store, config, arguments.work, arguments.steps)


if __name__ == "__main__":
    main()
