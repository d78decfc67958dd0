"""Benchmark of training: samples per second of its steps, against the same steps written plainly; no Ray needed.

    python experiments/benchmarks/training.py                                            # a laptop: `small`, narrower
    python experiments/benchmarks/training.py --preset paper --device cuda --steps 20 --profile trace.json
    torchrun --nproc_per_node 8 experiments/benchmarks/training.py --preset paper --device cuda --ours-only

Ours is the training loop as it is: latents and image tokens from the clip store, read ahead, DeepSpeed's optimizer. The
plain one decodes its frames from mp4 files, encodes them and the reference with the codec and CLIP in every step, and
takes a step of AdamW: the same networks, weights, batch and precision, one after the other in one run. All weights are
random. Without --device cuda, the preset's number of GPUs and workers is replaced by this process.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from hia.config import Config, LossWeights, Stage, load_config
from hia.data.preprocess.build_store import build_store
from hia.data.sampling import TrainingSamples
from hia.data.sampling.sample import control_images, cut_driving_signal
from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore, open_store
from hia.diffusion.schedule import NoiseSchedule
from hia.images import Frame, fit_to_size, to_tensor
from hia.models.build import build_animator
from hia.models.codec import Codec, build_random_codec
from hia.models.image_encoder import ImageEncoder
from hia.synthetic import write_dancers
from hia.training.batch import Batch
from hia.training.flops import peak_teraflops
from hia.training.optimizer import make_optimizer
from hia.training.step import generator_for, training_loss
from hia.video import frames_at
from orchestration.training.distributed import process_group
from orchestration.training.loop import train_in_process
from orchestration.training.run import TrainingRun

STAGES = ("spatial", "temporal_full")
NEEDED_RATIO = 1.5
WITHOUT_WEIGHTS = (
    "pretrained={model: null, unet: null, controlnet: null, motion: null, image_encoder: null}",
    "face_embedder=null",
    "stages.regional.losses.identity=0",
    "preprocess={face_embedding_every: 0, latents: true, hands_seen: 0, fps: null}",
    "samples.workers=1",
)
# What two CPU cores can do in minutes: `small` with fewer channels and shorter clips.
ON_A_CPU = (
    *("width=192", "height=320", "network.block_out_channels=[64,128,128,128]", "network.cross_attention_dim=128"),
    *("stages.spatial={global_batch_size: 4, micro_batch_size: 4}",),
    *("stages.temporal_full={frames: 8, frame_stride: [1, 2], global_batch_size: 1}",),
)


@dataclass
class Lines:
    """A journal in memory."""

    values: list[Mapping[str, float]] = field(default_factory=list)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keep values."""
        self.values.append(values)

    def artifact(self, path_in_stage_folder: str, under: str) -> None:
        """Ignore artifacts."""


@dataclass(frozen=True)
class Plain:
    """Batches as the usual training script makes them: decode, draw, encode."""

    config: Config
    stage: Stage
    store: ClipStore
    videos: Path
    codec: Codec
    image_encoder: ImageEncoder | None
    device: torch.device

    def batches(self) -> Iterator[Batch]:
        """The same samples as ours."""
        samples = TrainingSamples(self.store, self.config, self.stage, self.config.seed)
        for first in range(0, 10**9, self.stage.micro_batch_size):
            yield self._batch(samples, range(first, first + self.stage.micro_batch_size))

    @torch.no_grad()
    def _batch(self, samples: TrainingSamples, places: Sequence[int]) -> Batch:
        draws = [samples.draw(place) for place in places]
        images, references, controls = [], [], []
        for draw in draws:
            clip = self.store.read(draw.clip)
            frames = self._decode(clip, [draw.reference, *draw.targets])
            frames = frames[:, :, ::-1] if draw.mirrored else frames
            pictures = torch.cat([to_tensor(np.ascontiguousarray(frame))[None] for frame in frames]).to(self.device)
            references.append(pictures[:1])
            images.append(pictures[1:])
            signal = cut_driving_signal(clip, draw, samples.size, samples.sharpness_scale, self.config.conditions)
            controls.append(control_images(signal, draw.still))
        reference, flat = torch.cat(references), torch.cat(images)
        encoded = [self.codec.encode(part) for part in flat.split(8)]
        token = torch.zeros(len(draws), 1, self.config.network.cross_attention_dim, device=self.device)
        return Batch(
            latents=torch.cat(encoded).unflatten(0, (len(draws), -1)),
            reference_latents=self.codec.encode(reference),
            control=torch.stack(controls).to(self.device),
            image_token=token if self.image_encoder is None else self.image_encoder(reference).float(),
        )

    def _decode(self, clip: Clip, wanted: Sequence[int]) -> Frame:
        order = sorted(set(wanted))
        video = self.videos / clip.info.video
        width, height = (round(side * self.stage.resolution_scale) for side in (self.config.width, self.config.height))
        decoded = frames_at(video, [clip.info.first_frame + index for index in order])
        found = {index: fit_to_size(frame, width, height) for index, frame in zip(order, decoded, strict=True)}
        return np.stack([found[index] for index in wanted])


def main() -> None:
    """Measure each stage both ways and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small", help="or a .yaml file (%(default)s)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="measured, after two that are not (%(default)s)")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), help="(%(default)s)")
    parser.add_argument("--ours-only", action="store_true", help="leave the plain loop out")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write a trace of ours for chrome://tracing")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="change settings; may be repeated"
    )
    arguments = parser.parse_args()
    workers = int(os.environ.get("WORLD_SIZE", 1))
    gpu = arguments.device == "cuda"
    machine = (f"training.workers={workers}", f"training.gpus_per_worker={int(gpu)}", "training.accelerator_type=null")
    laptop = ON_A_CPU if arguments.preset == "small" and not gpu else ()
    config = load_config(arguments.preset, [*WITHOUT_WEIGHTS, *machine, *laptop, *arguments.set])
    with TemporaryDirectory() as scratch:
        benchmark(config, Path(scratch), arguments)


def benchmark(config: Config, folder: Path, arguments: argparse.Namespace) -> None:
    """Measure all stages in a scratch folder."""
    config, encoder = with_random_networks(config, folder)
    seconds = 2.5 * config.stages.temporal_full.frames * config.stages.temporal_full.frame_stride[1] / 30
    write_dancers(folder / "videos", 2, seconds=seconds, width=config.width, height=config.height, fps=30, seed=5)
    build_store([str(folder / "videos")], str(folder / "store"), config, device=arguments.device)
    store = open_store(folder / "store")
    for name in arguments.stages:
        stage = replace(getattr(config.stages, name), iterations=arguments.steps + 2, losses=LossWeights())
        stage = replace(stage, global_batch_size=stage.micro_batch_size * config.training.workers)
        stages = replace(config.stages, **{name: stage})
        looking = replace(config.training, log_every=2, validate_every=0, checkpoint_every=10**9)
        settings = replace(config, stages=stages, training=looking)
        ours = measure_ours(settings, stage, folder, arguments.profile)
        print(f"{name}: ours {told(ours, settings)}", flush=True)
        if not arguments.ours_only:
            plain = measure_plain(settings, stage, store, folder / "videos", encoder, arguments)
            rate = stage.micro_batch_size / plain["step"]
            ratio = plain["step"] / ours["seconds/step"]
            print(f"{name}: plain {rate:.3g} samples/s, {split(plain)}; ratio {ratio:.2f} (needed {NEEDED_RATIO})")


def with_random_networks(config: Config, folder: Path) -> tuple[Config, ImageEncoder | None]:
    """The configuration with networks of full size and random weights, saved where it says; `paper` has CLIP ViT-L."""
    build_random_codec(config.codec).save(folder / "codec")
    codec = replace(config.codec, weights=str(folder / "codec"))
    if config.network.cross_attention_dim != 768:
        return replace(config, codec=codec), None
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    torch.manual_seed(0)
    encoder = ImageEncoder(CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=14, projection_dim=768, **shape)))
    encoder.save(folder / "clip")
    pretrained = replace(config.pretrained, image_encoder=str(folder / "clip"))
    return replace(config, codec=codec, pretrained=pretrained), encoder


def measure_ours(config: Config, stage: Stage, folder: Path, profile: Path | None) -> dict[str, float]:
    """Means of the lines of metrics after the first, in which everything is warmed up."""
    work = folder / f"ours_{stage.name}"
    work.mkdir()
    lines = Lines()
    run = TrainingRun(config, stage.name, str(folder / "store"), str(work))
    with process_group(run):
        if profile is None:
            train_in_process(run, lines)
        else:
            with torch.profiler.profile() as profiler:
                train_in_process(run, lines)
            profiler.export_chrome_trace(str(profile.with_stem(f"{profile.stem}_{stage.name}")))
            print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))
    measured = lines.values[1:]
    return {name: float(np.mean([line[name] for line in measured])) for name in measured[0]}


def measure_plain(
    config: Config,
    stage: Stage,
    store: ClipStore,
    videos: Path,
    encoder: ImageEncoder | None,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """Seconds per step of the plain loop, by part."""
    device = torch.device(arguments.device)
    dtype = getattr(torch, config.training.dtype)
    animator, _ = build_animator(config, motion="motion" in stage.trains)
    animator.train_only(stage.trains)
    if config.training.gradient_checkpointing:
        animator.enable_gradient_checkpointing()
    animator.train().to(device=device, dtype=dtype)
    codec = build_random_codec(config.codec).to(device)
    plain = Plain(config, stage, store, videos, codec, encoder.to(device) if encoder else None, device)
    trained = [parameter for parameter in animator.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, config.optimizer, stage)
    batches, schedule = plain.batches(), _schedule(config)
    seconds = {"data": 0.0, "compute": 0.0}
    for step in range(arguments.steps + 2):
        begin = _now(device)
        batch = next(batches)
        ready = _now(device)
        loss, _ = training_loss(animator, schedule, batch, stage, generator_for(0, step))
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        if step >= 2:
            seconds["data"] += (ready - begin) / arguments.steps
            seconds["compute"] += (_now(device) - ready) / arguments.steps
    return seconds | {"step": seconds["data"] + seconds["compute"]}


def told(ours: Mapping[str, float], config: Config) -> str:
    """Format the line of a stage."""
    peak = peak_teraflops(torch.device("cuda")) if config.training.gpus_per_worker else None
    parts = {name.removeprefix("seconds/"): value for name, value in ours.items() if name.startswith("seconds/")}
    rate = f"{ours['samples_per_second']:.3g} samples/s, {split(parts)}; {ours['teraflops_per_worker']:.3g} TFLOP/s"
    memory = f", {ours['peak_memory_gib']:.1f} GiB" if "peak_memory_gib" in ours else ""
    return rate + (f" = {100 * ours['share_of_peak']:.1f} % of {peak:g}" if peak else "") + memory


def split(seconds: Mapping[str, float]) -> str:
    """Format the shares of a step's time."""
    whole = seconds["step"]
    shares = ", ".join(f"{name} {100 * value / whole:.0f} %" for name, value in seconds.items() if name != "step")
    return f"{whole:.3g} s a step ({shares})"


def _schedule(config: Config) -> NoiseSchedule:
    return NoiseSchedule.of(config)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
