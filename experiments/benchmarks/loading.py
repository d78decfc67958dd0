"""Benchmark of data loading: the clip store against decoding H.264 on demand, and whole samples.

    python experiments/benchmarks/loading.py                             # generated dancers, one per clip
    python experiments/benchmarks/loading.py --videos FOLDER             # videos with keypoint files beside them

The same frames lie in a clip store (JPEG) and in mp4 files (x264, its default distance of keyframes, 250). From the mp4
a frame is read as the usual loaders do: seek to the keyframe before it, decode up to it. Files stay open and both ways
use one thread. Rates are per second of CPU time, which other programs disturb less; several processes are measured in
real time. Latents are noise of Stable Diffusion's shape, which is read as fast as real ones.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from hia.config import Config, LossWeights, Stage, load_config
from hia.config.stages import REGIONAL, SPATIAL, TEMPORAL_FULL, TEMPORAL_HALF
from hia.data.preprocess.build_store import build_store
from hia.data.sampling import TrainingSamples
from hia.data.sampling.loader import sample_batches
from hia.data.sampling.sample import control_images, cut_driving_signal, cut_images
from hia.data.store.clip import REQUIRED, Clip, latents_name, serialise_clip
from hia.data.store.clip_store import MANIFEST, ClipStore, manifest_text, open_store
from hia.data.store.records import ClipInfo, to_json
from hia.io.files import Folder
from hia.io.hashing import bytes_sha256
from hia.synthetic import write_dancers

WINDOW = 16
STRIDES = (2, 4)
LATENT_CHANNELS, PIXELS_PER_LATENT = 4, 8
NEEDED_RATIO = {"windows of frames": 5, "windows of latents": 100}
# Samples per second that a GPU must not have to wait for.
NEEDED_RATE = 30

# Without weights from elsewhere; what the recipe's regional stage compares faces with is left out.
OVERRIDES = (
    "pretrained={unet: null, controlnet: null, motion: null, image_encoder: null}",
    "face_embedder=null",
    "stages.regional.losses.identity=0",
    "preprocess={face_embedding_every: 0, latents: false, least_seconds: 4.0}",
)


class Mp4:
    """One clip as an mp4 file that is kept open."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        self._stream: Any = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self._ticks = 1 / (self._stream.average_rate * self._stream.time_base)

    def frames(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Frames by rising numbers, RGB uint8 [n, H, W, 3]."""
        return np.stack(list(self._read(indices)))

    def _read(self, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        wanted = iter(indices)
        index = next(wanted)
        self._container.seek(int(index * self._ticks), stream=self._stream, backward=True)
        for frame in self._container.decode(self._stream):
            if round(frame.pts / self._ticks) == index:
                yield frame.to_ndarray(format="rgb24")
                index = next(wanted, None)
                if index is None:
                    return


def main() -> None:
    """Measure and print tables."""
    arguments = parse()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        config = load_config("paper", OVERRIDES)
        store = make_store(arguments, config, folder)
        with_latents = add_latents(store, folder / "latents", config)
        videos = {info.id: write_mp4(store.read(info), folder / f"{info.id}.mp4") for info in tqdm(store.clips)}
        describe(store, videos, config)
        compare(with_latents, {name: Mp4(path) for name, path in videos.items()}, config, arguments.reads)
        rates(store, with_latents, config, arguments.seconds)
        waiting(with_latents, config, arguments.workers, arguments.seconds)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", nargs="+", help="videos of at least 4 s with keypoint files beside them")
    parser.add_argument("--dancers", type=int, default=4, help="generated videos, where none are given")
    parser.add_argument("--dancer-seconds", type=float, default=10.0, help="length of these")
    parser.add_argument("--reads", type=int, default=60, help="of each kind, from each source")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each rate of samples")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes to try")
    parser.add_argument("--scratch", help="where temporary files go")
    return parser.parse_args()


def make_store(arguments: argparse.Namespace, config: Config, folder: Path) -> ClipStore:
    """A clip store of the given videos, or of generated ones."""
    if arguments.videos is None:
        shape = {"seconds": arguments.dancer_seconds, "width": config.width, "height": config.height}
        write_dancers(folder / "dancers", arguments.dancers, seed=0, progress=True, **shape)
    inputs = arguments.videos or [str(folder / "dancers")]
    return build_store(inputs, str(folder / "store"), config, progress=True).store


def add_latents(store: ClipStore, target: Path, config: Config) -> ClipStore:
    """A copy of the store with latents at full and half size, plain and mirrored."""
    folder, generator = Folder(target), np.random.default_rng(0)
    infos = [_with_latents(store.read(info), folder, generator) for info in tqdm(store.clips)]
    settings = store.settings | {"codec": {"kind": config.codec.kind}}
    header = {"settings": settings, "statistics": store.statistics, "fingerprint": "", "num_clips": len(infos)}
    folder.write(MANIFEST, manifest_text(header, map(to_json, infos)).encode())
    return open_store(target, check="none")


def _with_latents(clip: Clip, folder: Folder, generator: np.random.Generator) -> ClipInfo:
    arrays = {name: clip.array(name) for name in REQUIRED}
    for width, height in ((clip.info.width, clip.info.height), (clip.info.width // 2, clip.info.height // 2)):
        shape = (len(clip), LATENT_CHANNELS, height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT)
        for mirrored in (False, True):
            arrays[latents_name(width, height, mirrored)] = generator.standard_normal(shape).astype(np.float16)
    content = serialise_clip(clip.info.id, arrays)
    folder.write(clip.info.file, content)
    return replace(clip.info, bytes=len(content), sha256=bytes_sha256(content))


def write_mp4(clip: Clip, path: Path) -> Path:
    """The clip's frames with x264's defaults."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=round(clip.info.fps))
        stream.width, stream.height, stream.pix_fmt = clip.info.width, clip.info.height, "yuv420p"
        stream.gop_size = 250  # x264's own; PyAV has another
        for index in range(len(clip)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(clip.frame(index), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def describe(store: ClipStore, videos: dict[str, Path], config: Config) -> None:
    """Describe the data and the machine."""
    frames = sum(info.num_frames for info in store.clips)
    kilobytes = {
        "store": sum(info.bytes for info in store.clips) / frames / 1000,
        "mp4": sum(path.stat().st_size for path in videos.values()) / frames / 1000,
    }
    seconds = sum(info.seconds for info in store.clips) / len(store.clips)
    size, clips = f"{config.width}×{config.height}", f"{len(store.clips)} clips of {seconds:.1f} s in the mean"
    print(f"\n{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}; {size}, {clips}")
    print("kB per frame: " + ", ".join(f"{value:.1f} in the {name}" for name, value in kilobytes.items()))


def compare(store: ClipStore, videos: dict[str, Mp4], config: Config, reads: int) -> None:
    """Random reads per second from the store and from mp4, by turns."""
    size = (config.width, config.height)
    pair, window = (_places(store, reads, number) for number in (2, WINDOW))

    def frames(info: ClipInfo, indices: Sequence[int]) -> object:
        return store.read(info).frames(indices)

    def latents(info: ClipInfo, indices: Sequence[int]) -> object:
        return store.read(info).latents(indices, *size)

    def decoded(info: ClipInfo, indices: Sequence[int]) -> object:
        return videos[info.id].frames(indices)

    print("\n| random reads per second | store | mp4 on demand | ratio |\n|---|---|---|---|")
    rows = {
        "image pairs": (frames, pair),
        "windows of frames": (frames, window),
        "windows of latents": (latents, window),
    }
    for name, (read, places) in rows.items():
        rate, plain = _by_turns(read, decoded, places)
        needed = f" (needed: {NEEDED_RATIO[name]})" if name in NEEDED_RATIO else ""
        print(f"| {name} | {rate:.1f} | {plain:.2f} | {rate / plain:.1f}{needed} |")


def _places(store: ClipStore, reads: int, frames: int) -> list[tuple[ClipInfo, list[int]]]:
    """Draw random clips, and in each two random frames or a random window."""
    generator = np.random.default_rng(frames)
    places = []
    for _ in range(reads):
        info = store.clips[generator.integers(len(store.clips))]
        if frames == 2:
            indices = np.sort(generator.choice(info.num_frames, 2, replace=False))
        else:
            step = int(generator.integers(STRIDES[0], STRIDES[1] + 1))
            indices = int(generator.integers(info.num_frames - (frames - 1) * step)) + step * np.arange(frames)
        places.append((info, indices.tolist()))
    return places


def _by_turns(one: Callable, other: Callable, places: list[tuple[ClipInfo, list[int]]]) -> tuple[float, float]:
    """Reads per second of both ways, each read done by one and then the other."""
    seconds = [0.0, 0.0]
    for info, _ in places:  # files are opened, and in the page cache, for both
        one(info, [0]), other(info, [0])
    for place in places:
        for way, read in enumerate((one, other)):
            start = time.process_time()
            read(*place)
            seconds[way] += time.process_time() - start
    return len(places) / seconds[0], len(places) / seconds[1]


def stages(config: Config) -> dict[str, tuple[Stage, bool]]:
    """The recipe's stages, and whether the store has latents."""
    regional = replace(REGIONAL, losses=LossWeights(noise=1, face=1, hand=1))
    return {
        "spatial, frames": (SPATIAL, False),
        "spatial, latents": (SPATIAL, True),
        "regional, latents": (regional, True),
        "temporal_half, frames": (TEMPORAL_HALF, False),
        "temporal_half, latents": (TEMPORAL_HALF, True),
        "temporal_full, latents": (replace(TEMPORAL_FULL, static_clip_probability=0.0), True),
    }


def rates(store: ClipStore, with_latents: ClipStore, config: Config, seconds: float) -> None:
    """Complete samples per second of one process, with control images, and where their time goes."""
    print("\n| complete samples, one process | samples/s | frames/s | control images | pictures | workers needed |")
    print("|---|---|---|---|---|---|")
    for name, (stage, latents) in stages(config).items():
        samples = TrainingSamples(with_latents if latents else store, config, stage, seed=0)
        rate = _rate(samples.__getitem__, seconds)
        drawing, reading = (_rate(part, seconds / 4) for part in _parts(samples))
        share = f"{rate / drawing:.0%} | {rate / reading:.0%}" if samples.needs_images else f"{rate / drawing:.0%} | –"
        print(f"| {name} | {rate:.1f} | {rate * stage.frames:.0f} | {share} | {NEEDED_RATE / rate:.1f} |")


def _rate(read: Callable[[int], object], seconds: float, clock: Callable[[], float] = time.process_time) -> float:
    """Measure calls per second."""
    for position in range(2):
        read(position)
    start = clock()
    for position in count(2):
        read(position)
        if (passed := clock() - start) > seconds:
            return (position - 1) / passed
    raise AssertionError


def _parts(samples: TrainingSamples) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """Split a sample into the drawing of its control images and the reading of its pictures."""

    def drawing(position: int) -> object:
        draw = samples.draw(position)
        clip, conditions = samples.store.read(draw.clip), samples.config.conditions
        signal = cut_driving_signal(clip, draw, samples.size, samples.sharpness_scale, conditions)
        return control_images(signal, draw.still)

    def reading(position: int) -> object:
        draw = samples.draw(position)
        frames = [*draw.targets, *([draw.reference] if samples.needs_reference else [])]
        return cut_images(samples.store.read(draw.clip), frames, samples.size, draw.mirrored)

    return drawing, reading


def waiting(store: ClipStore, config: Config, numbers: list[int], seconds: float) -> None:
    """Print the share of waiting of a training loop that takes 30 image pairs a second, by number of workers."""
    samples, batch = TrainingSamples(store, config, SPATIAL, seed=0), 4
    print(f"\n| workers | batches of {batch}/s at most | waiting, at {NEEDED_RATE} samples/s |\n|---|---|---|")
    for workers in numbers:
        batches = sample_batches(samples, ([*range(n, n + batch)] for n in count(0, batch)), workers, prefetch=4)
        fastest = _rate(lambda _, batches=batches: next(batches), seconds, time.perf_counter)
        share = _waiting(batches, batch / NEEDED_RATE, seconds)
        batches.close()
        print(f"| {workers} | {fastest:.1f} | {share:.1%} of the time |")


def _waiting(batches: Iterator[object], step: float, seconds: float) -> float:
    """Share of the time that a loop, each of whose steps takes `step` s, waits for its next batch."""
    waited, begin, batch = 0.0, time.perf_counter(), None
    while (start := time.perf_counter()) - begin < seconds:
        following = next(batches)
        waited += time.perf_counter() - start
        batch = following  # which frees the one before: some milliseconds of work, but no waiting
        time.sleep(step if batch else 0)
    return waited / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
