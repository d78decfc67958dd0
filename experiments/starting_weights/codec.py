"""Train the small codec of the quickstart preset on generated dancers, on a CPU.

python -m experiments.starting_weights.codec --work FOLDER [--steps N] [--output FOLDER]
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import Tensor, nn

from experiments.starting_weights import dancers
from experiments.starting_weights.evaluate import psnr
from hia.config import CodecConfig
from hia.images import Frame, to_frames, to_tensor
from hia.io.files import atomic_write
from hia.models.codec import Codec, TinyCodec

SEED = 1101
STEPS = 4500
BATCH = 8
LEARNING_RATE = 6e-4
WARM_UP = 50
# Standard deviation, at most, of the noise on the latents that the decoder sees.
LATENT_NOISE = 0.1
STATE = "codec_state.pt"


def new_autoencoder(seed: int = SEED) -> AutoencoderTiny:
    """The network with random weights: 8 pixels per latent, 4 channels, nothing nonlinear at full resolution.

    Weights are scaled so that the signal keeps its size through the layers; with PyTorch's, which shrink it, training
    stays at grey pictures for thousands of steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = AutoencoderTiny(
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(48, 48, 48, 48),
            num_encoder_blocks=(0, 1, 2, 3),
            num_decoder_blocks=(3, 3, 1, 0),
        )
        for module in autoencoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in autoencoder.modules():
            if isinstance(module, AutoencoderTinyBlock):
                module.conv[-1].weight *= 0.2
        image = autoencoder.decoder.layers[-1]
        image.weight *= 0.1
        image.bias.fill_(0.5)
    return autoencoder


@torch.no_grad()
def standardise(autoencoder: AutoencoderTiny, images: Tensor) -> None:
    """Scale the encoder's last layer so that the latents of these images have mean 0 and standard deviation 1."""
    std, mean = torch.std_mean(autoencoder.encoder(images), dim=(0, 2, 3))
    last = autoencoder.encoder.layers[-1]
    last.weight /= std[:, None, None, None]
    last.bias.copy_((last.bias - mean) / std)


# -------------------------------------------------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Pictures:
    """Random, augmented pictures from frames uint8 [N, H, W, 3]."""

    frames: Frame

    def draw(self, generator: torch.Generator) -> Tensor:
        """A batch [BATCH, 3, H/2, W/2] in [−1, 1] of quarters of frames, cut out anywhere, and of halved frames."""
        chosen = torch.randint(len(self.frames), (BATCH,), generator=generator)
        images = [self._cut(to_tensor(self.frames[index]), generator) for index in chosen.tolist()]
        return torch.stack([augmented(image, generator) for image in images])

    def _cut(self, image: Tensor, generator: torch.Generator) -> Tensor:
        height, width = image.shape[-2] // 2, image.shape[-1] // 2
        if _chance(generator, 0.3):
            return F.avg_pool2d(image, 2)
        top = int(torch.randint(height + 1, (), generator=generator))
        left = int(torch.randint(width + 1, (), generator=generator))
        return image[:, top : top + height, left : left + width]


def augmented(image: Tensor, generator: torch.Generator) -> Tensor:
    """An image [3, H, W] in [−1, 1] mirrored by chance and, half of the time, in other colours."""
    if _chance(generator, 0.5):
        image = image.flip(-1)
    if _chance(generator, 0.5):
        return image
    image = image[torch.randperm(3, generator=generator)]
    image = ((image + 1) / 2).clamp(0, 1)
    image = 1 - image if _chance(generator, 0.1) else image
    gamma, grey = torch.rand(2, generator=generator).tolist()
    image = image ** (2 ** (1.6 * gamma - 0.8))
    image = torch.lerp(image, image.mean(dim=0, keepdim=True), grey * 0.8)
    gain, shift = (torch.rand(2, 3, 1, 1, generator=generator) - 0.5) * torch.tensor([0.6, 0.3]).reshape(2, 1, 1, 1)
    return ((image - 0.5) * (1 + gain) + 0.5 + shift).clamp(0, 1) * 2 - 1


def _chance(generator: torch.Generator, probability: float) -> bool:
    return bool(torch.rand((), generator=generator) < probability)


# -------------------------------------------------------------------------------------------------------- training


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Absolute and squared error, of pixels, of edges (neighbours' differences), of colour, and of coarse areas."""
    error = decoded - images
    colour = error - error.mean(dim=1, keepdim=True)
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    coarse = F.avg_pool2d(error, 8).square().mean()
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges + 4 * colour.square().mean() + 2 * coarse


def codec_loss(autoencoder: AutoencoderTiny, images: Tensor, generator: torch.Generator) -> Tensor:
    """Reconstruction from noisy latents whose channels are kept near mean 0, variance 1, and uncorrelated.

    A quarter of the time the latents are halved in size, and so is what they must decode to: latents that are
    images of the image, only smaller, are easier to generate.
    """
    with torch.autocast("cpu", torch.bfloat16):
        latents = autoencoder.encoder(images).float()
    values = latents.movedim(1, 0).flatten(1)
    spread = values.mean(dim=1).square().mean() + (torch.cov(values) - torch.eye(len(values))).square().mean()
    if _chance(generator, 0.25):
        latents, images = F.avg_pool2d(latents, 2), F.avg_pool2d(images, 2)
    strength = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator)
    noisy = latents + strength * torch.randn(latents.shape, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        decoded = autoencoder.decoder(noisy).float()
    return reconstruction_loss(decoded, images) + 0.2 * spread


def train(frames: Frame, work: Path, steps: int) -> AutoencoderTiny:
    """Train to the last step, going on from a saved state of the same run."""
    autoencoder = new_autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step, steps))
    generator = torch.Generator().manual_seed(SEED)
    parts = {"autoencoder": autoencoder, "optimizer": optimizer, "schedule": schedule}
    first = _resume(work / STATE, parts, generator)
    pictures, began, mean_loss = Pictures(frames), time.monotonic(), 0.0
    if first == 0:
        standardise(autoencoder, pictures.draw(generator))
    for step in range(first, steps):
        images = pictures.draw(generator).to(memory_format=torch.channels_last)
        loss = codec_loss(autoencoder, images, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean_loss = loss.item() if mean_loss == 0 else 0.98 * mean_loss + 0.02 * loss.item()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            print(f"step {step + 1}/{steps}: loss {mean_loss:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            _save(work / STATE, parts, generator, step + 1)
    return autoencoder.to(memory_format=torch.contiguous_format)


def _learning_rate(step: int, steps: int) -> float:
    """As a share of the highest: warmed up, then a cosine down to 1 %."""
    return min((step + 1) / WARM_UP, 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def _resume(file: Path, parts: dict, generator: torch.Generator) -> int:
    if not file.is_file():
        return 0
    state = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    return state["step"]


def _save(file: Path, parts: dict, generator: torch.Generator, step: int) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_write(file) as aside:
        torch.save(state | {"generator": generator.get_state(), "step": step}, aside)


# ---------------------------------------------------------------------------------------------------------- result


@torch.no_grad()
def as_codec(autoencoder: AutoencoderTiny, frames: Frame) -> TinyCodec:
    """The codec whose latents have mean 0 and standard deviation 1 per channel on these frames."""
    autoencoder.half().float()  # the numbers that will be saved
    latents = torch.cat([autoencoder.encoder(to_tensor(part)) for part in _parts(frames)])
    std, mean = torch.std_mean(latents, dim=(0, 2, 3))
    moments = {"latents_mean": tuple(_rounded(mean)), "latents_std": tuple(_rounded(std))}
    return TinyCodec(autoencoder, CodecConfig(kind="taesd", **moments))


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


@torch.no_grad()
def reconstructed(codec: Codec, frames: Frame) -> Frame:
    """Frames [N, H, W, 3] encoded and decoded."""
    return np.concatenate([to_frames(codec.decode(codec.encode(to_tensor(part)))) for part in _parts(frames)])


def _parts(frames: Frame, most: int = 8) -> list[Frame]:
    return np.array_split(frames, math.ceil(len(frames) / most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for dancers and the resumable state")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the codec")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = dancers.read(dancers.render(arguments.work / "dancers", dancers.CODEC))
    codec = as_codec(train(frames, arguments.work, arguments.steps), frames[::4])
    unseen = dancers.read(dancers.render(arguments.work / "dancers", dancers.HELD_OUT))
    print(f"mean {codec.config.latents_mean}, std {codec.config.latents_std}")
    for name, pictures in {"dancers seen": frames[::16], "unseen dancers": unseen[::4]}.items():
        print(f"PSNR on {name}: {psnr(reconstructed(codec, pictures), pictures):.2f} dB")
    codec.half().save(arguments.output)


if __name__ == "__main__":
    main()
