"""Benchmark of sampling: its speed, the share of each network, and the plain implementation beside it.

    python experiments/benchmarks/sampling.py                                   # CPU, a small model of SD's shape
    python experiments/benchmarks/sampling.py --preset paper --device cuda --dtype bfloat16 [--compile]

The plain version is what most published code does: reference features anew in every step and for both halves of
guidance, tokens repeated over frames before they are projected to keys and values, the ControlNet in both halves and
for every window. Both versions are measured in one run, alternating, and must give equal latents.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hia.animation.guided_predictor import GuidedPredictor
from hia.config import Config, load_config
from hia.diffusion.guidance import animation_guidance
from hia.diffusion.sampler import sample_latents
from hia.diffusion.schedule import NoiseSchedule
from hia.models.animator import Animator, Residuals
from hia.models.build import build_animator
from hia.models.reference import reference_keys_values

# A quarter of Stable Diffusion's widths, its four levels and its attention, at a size that a laptop samples in minutes.
SMALL = (
    "network={block_out_channels: [64, 128, 256, 256], attention_levels: [true, true, true, false]}",
    "network={layers_per_block: 2, num_attention_heads: 4, motion_num_attention_heads: 4, cross_attention_dim: 64}",
    "codec={kind: taesd, factor: null}",
    "width=256",
    "height=448",
)

# Dense bf16 matrix rate in FLOP/s by the vendor's data sheets, for the share of peak.
PEAK_FLOPS = {"A100": 312e12, "H100": 990e12, "H200": 990e12}


class PlainPredictor:
    """Guided prediction with everything computed where it is needed, as often as it is needed."""

    def __init__(self, animator: Animator, reference: Tensor, token: Tensor, control: Callable, scale: float) -> None:
        self.animator, self.control, self.scale = animator, control, scale
        self.dtype = next(animator.parameters()).dtype
        self.reference, self.token = reference[None].to(self.dtype), token[None].to(self.dtype)

    def __call__(self, latents: Tensor, timestep: Tensor, windows: Sequence[range]) -> Tensor:
        predictions = []
        # With gradients enabled (none is needed, so none is recorded) attention takes no short cuts.
        with torch.enable_grad():
            for clip, window in zip(latents.to(self.dtype), windows, strict=True):
                conditional, null = (self._half(clip, timestep, window, keep) for keep in (True, False))
                predictions.append(animation_guidance(null, conditional, self.scale))
        return torch.stack(predictions)

    def _half(self, clip: Tensor, timestep: Tensor, window: range, keep: bool) -> Tensor:
        frames = len(clip)
        tokens = self.animator.appearance_encoder(self.reference, self.token)
        repeated = {name: value.expand(frames, -1, -1).contiguous() for name, value in tokens.items()}
        reference = reference_keys_values(self.animator.unet, repeated)
        token = self.token.expand(frames, -1, -1)
        residuals = self.animator.control_residuals(
            clip, timestep.expand(frames), self.control(list(window)).to(clip), token
        )
        kept = torch.tensor([keep], device=clip.device)
        residuals = Residuals(tuple(down * kept for down in residuals.down), residuals.mid * kept)
        # The processor wants one reference per clip or per frame: here it is per frame.
        return self.animator.denoise(
            clip[None],
            timestep.expand(1),
            self.token * kept,
            reference,
            residuals,
            keep=kept.expand(frames),
        )[0]


def main() -> None:
    """Measure and print a table."""
    arguments = parse()
    config = configuration(arguments)
    animator, reference, token, control = inputs(config, arguments)
    sampling = replace(
        config.sampling, steps=arguments.steps, window=arguments.window, overlap=arguments.overlap, guidance_scale=3.5
    )
    if arguments.compile:
        animator.unet.compile()  # in place: torch.compile would wrap it in another class

    def run(predictor: Callable) -> Tensor:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            schedule = NoiseSchedule.of(config)
            return sample_latents(predictor, reference, arguments.frames, schedule, sampling, generator)

    def lean() -> Tensor:
        return run(GuidedPredictor(animator, reference, token, control, "animation", 3.5))

    def plain() -> Tensor:
        return run(PlainPredictor(animator, reference, token, control, 3.5))

    describe(config, arguments, animator)
    difference = compare(lean(), plain(), arguments.dtype)  # also the warm-up
    seconds = {"lean": [], "plain": []}
    for _ in range(arguments.repeats):
        for name, version in (("lean", lean), ("plain", plain)):
            seconds[name].append(timed(version, reference.device))
    report(arguments, seconds, difference)
    if not arguments.compile:  # neither hooks nor counters see into compiled code
        split(animator, lean, arguments, reference.device)
        flops(lean, plain, min(seconds["lean"]), reference.device)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", help="measure this preset's networks (random weights) in place of the small ones")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--window", type=int, default=4)
    parser.add_argument("--overlap", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoiser")
    return parser.parse_args()


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration to measure; weights are always random."""
    random_weights = "pretrained={unet: null, controlnet: null, motion: null, image_encoder: null}"
    overrides = [random_weights] if arguments.preset else [random_weights, *SMALL]
    return load_config(arguments.preset or "small", overrides)


def inputs(config: Config, arguments: argparse.Namespace) -> tuple[Animator, Tensor, Tensor, Callable]:
    """A model whose zero-initialised layers are random as if trained, and random inputs of the configured size."""
    generator = torch.Generator().manual_seed(0)
    animator, _ = build_animator(config, motion=True)
    for parameter in animator.parameters():
        if not parameter.detach().any():
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=generator)
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    animator = animator.to(device=device, dtype=dtype).eval().requires_grad_(False)
    side = config.codec.pixels_per_latent
    shape = (config.codec.latent_channels, config.height // side, config.width // side)
    reference = torch.randn(shape, generator=generator).to(device)
    token = torch.randn(1, config.network.cross_attention_dim, generator=generator).to(device)
    controls = torch.rand(arguments.frames, 6, config.height, config.width, generator=generator).to(device, dtype)
    return animator, reference, token, lambda frames: controls[list(frames)]


def compare(lean: Tensor, plain: Tensor, dtype: str) -> float:
    """Relative difference of the two versions' latents; SystemExit when they are not equal to rounding."""
    difference = float((lean - plain).norm() / plain.norm())
    if not difference < (1e-4 if dtype == "float32" else 0.05):
        raise SystemExit(f"the versions differ by {difference:.1e}: nothing to compare")
    return difference


def timed(version: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of one run."""
    synchronise(device)
    start = time.perf_counter()
    version()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(config: Config, arguments: argparse.Namespace, animator: Animator) -> None:
    """Describe the configuration and the machine."""
    millions = sum(parameter.numel() for parameter in animator.parameters()) / 1e6
    device = (
        torch.cuda.get_device_name()
        if arguments.device.startswith("cuda")
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"{device}, torch {torch.__version__}, {arguments.dtype}{', compiled' if arguments.compile else ''}\n"
        f"{config.width}×{config.height}, widths {config.network.block_out_channels}, {millions:.0f} M weights; "
        f"{arguments.frames} frames, windows of {arguments.window} overlapping by {arguments.overlap}, "
        f"{arguments.steps} steps"
    )


def report(arguments: argparse.Namespace, seconds: dict[str, list[float]], difference: float) -> None:
    """Time per frame and step of both versions, and their ratio."""
    for name, runs in seconds.items():
        per, spread = min(runs) / arguments.frames / arguments.steps, max(runs) / min(runs)
        print(f"{name:>6}: {per:.4f} s per frame and step (best of {len(runs)}; worst {spread:.2f} times that)")
    ratio = min(seconds["plain"]) / min(seconds["lean"])
    print(f" ratio: {ratio:.2f}; relative difference of the latents {difference:.1e}")


def split(animator: Animator, lean: Callable, arguments: argparse.Namespace, device: torch.device) -> None:
    """Share of each module in one run of the lean version."""
    with module_times(animator, device) as times:
        total = timed(lean, device)
    times["rest (windows, scheduler, copies)"] = total - sum(times.values())
    for name, value in times.items():
        print(f"{value / total:7.1%}  {value / arguments.frames / arguments.steps:.4f} s per frame and step  {name}")


@contextmanager
def module_times(animator: Animator, device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds spent in each network, by hooks around their forward passes."""
    times: dict[str, float] = defaultdict(float)
    started: list[float] = []

    def before(*_: object) -> None:
        synchronise(device)
        started.append(time.perf_counter())

    def after(name: Callable[[dict], str]) -> Callable:
        def hook(_module: object, _inputs: object, keywords: dict, _output: object) -> None:
            synchronise(device)
            times[name(keywords)] += time.perf_counter() - started.pop()

        return hook

    def half(keywords: dict) -> str:
        conditional = keywords["cross_attention_kwargs"]["reference"] is not None
        return "denoiser, conditional" if conditional else "denoiser, null branch"

    networks: dict[torch.nn.Module, Callable[[dict], str]] = {
        animator.appearance_encoder: lambda _: "appearance encoder (once per clip)",
        animator.controlnet: lambda _: "ControlNet",
        animator.unet: half,
    }
    hooks = [network.register_forward_pre_hook(before) for network in networks]
    hooks += [network.register_forward_hook(after(name), with_kwargs=True) for network, name in networks.items()]
    try:
        yield times
    finally:
        for hook in hooks:
            hook.remove()


def flops(lean: Callable, plain: Callable, seconds: float, device: torch.device) -> None:
    """Operations of both versions (2 per multiply-add), the rate reached, and the share of the chip's peak."""
    counts = {}
    for name, version in (("lean", lean), ("plain", plain)):
        with FlopCounterMode(display=False) as counter:
            version()
        counts[name] = counter.get_total_flops()
    rate = counts["lean"] / seconds
    ratio = counts["plain"] / counts["lean"]
    print(f"   ops: lean {counts['lean']:.3g}, plain {counts['plain']:.3g} FLOP: ratio {ratio:.2f}")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peak = next((value for chip, value in PEAK_FLOPS.items() if chip in name), None)
    print(f"  rate: {rate / 1e12:.3f} TFLOP/s" + (f", {rate / peak:.1%} of the bf16 peak" if peak else ""))


if __name__ == "__main__":
    main()
