"""Benchmark of preprocessing: its speed, the share of each part, and the usual script beside it.

    python experiments/benchmarks/preprocess.py                      # generated dancers, networks of RTMPose's cost
    python experiments/benchmarks/preprocess.py --videos FOLDER --detector F.onnx --pose F.onnx --feet F.onnx

The usual script takes one frame after the other in one process: decode, detect, RTMPose, DWPose, draw, write. Ours runs
on Ray Data, two workers of one thread each. Both use the same files and networks, in one run. Loading networks and
starting workers is in neither rate: ours is counted from the moment when each worker has done its first video.

Generated networks have as many operations as the real ones of a mode (performance: YOLOX-m at 640 px, RTMPose-l and
DWPose-l at 288×384; lightweight: YOLOX-tiny at 416 px, RTMPose-m and DWPose-m at 192×256) in convolutions of random
weights, and find people by the colour of a rectangle.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from rtmlib import YOLOX, RTMPose, draw_skeleton

from hia.config import Config, load_config
from hia.data.preprocess.build_store import build_store, run_in_process
from hia.data.preprocess.video_preprocessor import Job, PreprocessorFactory
from hia.data.store.records import Outcome
from hia.video import read_frames, write_video
from orchestration.cluster import connect
from orchestration.preprocess import RayRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.pose.tiny_onnx import PERSON, draw_person, write_detector, write_pose

ROLES = ("detector", "pose", "feet")

# By mode: multiply-adds of one picture in 10⁹, and its size; as reported by the authors of YOLOX and RTMPose.
COST = {
    "performance": {"detector": (36.9, (640, 640)), "pose": (10.1, (288, 384)), "feet": (10.1, (288, 384))},
    "lightweight": {"detector": (3.2, (416, 416)), "pose": (2.2, (192, 256)), "feet": (2.2, (192, 256))},
}
# Ballast works at this many channels on a picture made smaller by this stride: most of such networks' cost lies there,
# and what passes between layers stays in the processor's cache, as theirs does.
BALLAST_CHANNELS, BALLAST_STRIDE = 256, 16
VIDEO_WIDTH, VIDEO_HEIGHT, FPS = 720, 1280, 30.0
WORKERS = 2


def main() -> None:
    """Measure both ways on the same videos and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="folder of videos (generated ones)")
    parser.add_argument("--mode", choices=COST, default="performance", help="cost of networks (%(default)s)")
    for role in ROLES:
        parser.add_argument(f"--{role}", type=Path, metavar="ONNX", help="network (a generated one)")
    parser.add_argument("--num-videos", type=int, default=8, help="to generate (%(default)s)")
    parser.add_argument("--frames", type=int, default=32, help="of each generated video (%(default)s)")
    parser.add_argument("--width", type=int, default=512, help="of the clips (%(default)s)")
    parser.add_argument("--height", type=int, default=896, help="of the clips (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of ours")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        networks = {role: getattr(arguments, role) or write_network(folder, role, arguments.mode) for role in ROLES}
        videos = arguments.videos or write_videos(folder / "videos", arguments.num_videos, arguments.frames)
        overrides = [f"preprocess.pose.{role}={path}" for role, path in networks.items()]
        sizes = [f"width={arguments.width}", f"height={arguments.height}", "preprocess.pose.source=estimate"]
        config = load_config("paper", ["preprocess.latents=false", *sizes, *overrides, *arguments.set])
        compare(sorted(videos.glob("*.mp4")), config, networks, folder)


def compare(videos: Sequence[Path], config: Config, networks: dict[str, Path], folder: Path) -> None:
    """Run the usual script, ours in one process, and ours on Ray; print frames per second and where the time goes."""
    frames = sum(1 for video in videos for _ in read_frames(video))
    print(f"{len(videos)} videos, {frames} frames; load {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    with inference_timer() as inference:
        plain = run_plain(videos, networks, (config.width, config.height), folder)
    print(f"usual script: {frames / plain:.2f} frames/s, {share(inference, plain)} in networks")

    runner = Stopwatch(run_in_process)
    with inference_timer() as inference:
        built = build_store([str(videos[0].parent)], str(folder / "alone"), config, runner, threads=None)
    assert built.store.statistics["frames"] == frames, built.store.rejected
    print(f"ours, one process: {frames / runner.seconds:.2f} frames/s, {share(inference, runner.seconds)} in networks")
    for step, seconds in sorted(built.seconds_by_step.items(), key=lambda item: -item[1]):
        print(f"    {step:8} {1000 * seconds / frames:7.2f} ms a frame, {frames / seconds:8.1f} frames/s")

    connect()
    runner = Stopwatch(RayRunner(WORKERS))
    built = build_store([str(videos[0].parent)], str(folder / "ray"), config, runner, threads=1)
    assert built.store.statistics["frames"] == frames, built.store.rejected
    counts = {clip.video: clip.num_frames for clip in built.store.clips}
    rate = runner.steady_rate(counts, WORKERS)
    print(f"ours, {WORKERS} workers on Ray: {rate:.2f} frames/s; with their start {frames / runner.seconds:.2f}")
    print(
        f"ratio to the usual script: {rate * plain / frames:.2f}; with the workers' start {plain / runner.seconds:.2f}"
    )


class Stopwatch:
    """A runner, timed from its first worker's start to the last outcome."""

    def __init__(self, runner: object) -> None:
        self.runner, self.seconds = runner, 0.0
        self.ended: list[tuple[str, float]] = []

    def __call__(self, worker: PreprocessorFactory, jobs: Sequence[Job]) -> Iterator[Outcome]:
        begin = time.perf_counter()
        for outcome in self.runner(worker, jobs):  # type: ignore[operator]
            self.seconds = time.perf_counter() - begin
            self.ended.append((outcome.name, self.seconds))
            yield outcome

    def steady_rate(self, frames: dict[str, int], workers: int) -> float:
        """Frames per second once each worker has ended a video. frames: of each video."""
        (_, begin), later = self.ended[workers - 1], self.ended[workers:]
        return sum(frames[name] for name, _ in later) / (self.seconds - begin)


@contextmanager
def inference_timer() -> Iterator[Counter[str]]:
    """Add up the time within ONNX Runtime's sessions, of this process."""
    seconds: Counter[str] = Counter()
    run = onnxruntime.InferenceSession.run

    def timed(*arguments: object, **options: object) -> object:
        begin = time.perf_counter()
        try:
            return run(*arguments, **options)
        finally:
            seconds["networks"] += time.perf_counter() - begin  # type: ignore[assignment]

    onnxruntime.InferenceSession.run = timed
    try:
        yield seconds
    finally:
        onnxruntime.InferenceSession.run = run


def share(inference: Counter[str], seconds: float) -> str:
    """Share of the time in networks, for people to read."""
    return f"{inference['networks'] / seconds:.1%}"


def run_plain(videos: Sequence[Path], networks: dict[str, Path], size: tuple[int, int], folder: Path) -> float:
    """Preprocess as the usual scripts do, with plain rtmlib. Returns seconds, without loading."""
    with redirect_stdout(io.StringIO()):
        detect = YOLOX(str(networks["detector"]), network_size(networks["detector"]))
        pose, feet = (RTMPose(str(networks[role]), network_size(networks[role])[::-1]) for role in ("pose", "feet"))
    begin = time.perf_counter()
    for video in videos:
        writers = [video_writer(folder / f"{video.stem}_{kind}.mp4", size) for kind in ("frames", "pose")]
        reader = cv2.VideoCapture(str(video))
        while True:
            found, frame = reader.read()
            if not found:
                break
            boxes = detect(frame)
            keypoints, scores = pose(frame, boxes)
            keypoints_of_feet, scores_of_feet = feet(frame, boxes)
            keypoints[:, 17:23], scores[:, 17:23] = keypoints_of_feet[:, 17:23], scores_of_feet[:, 17:23]
            drawn = draw_skeleton(np.zeros_like(frame), keypoints, scores, kpt_thr=0.3)
            for writer, picture in zip(writers, (frame, drawn), strict=True):
                writer.write(cv2.resize(picture, size))
        for writer in writers:
            writer.release()
    return time.perf_counter() - begin


def video_writer(path: Path, size: tuple[int, int]) -> cv2.VideoWriter:
    """An mp4 writer as OpenCV comes with."""
    return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)


def network_size(path: Path) -> tuple[int, int]:
    """(height, width) of a network's pictures."""
    shape = onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape
    return int(shape[2]), int(shape[3])


def write_network(folder: Path, role: str, mode: str) -> Path:
    """A network that finds a coloured rectangle, and does as many operations besides as the real one."""
    path = folder / f"{role}.onnx"
    operations, (width, height) = COST[mode][role]
    write = write_detector if role == "detector" else write_pose
    write(path, width=width, height=height)
    model = onnx.load(path)
    add_ballast(model.graph, operations * 1e9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def add_ballast(graph: onnx.GraphProto, operations: float) -> None:
    """Convolutions of random weights on the picture, whose mean, times almost nothing, is added to the first output."""
    picture, output = graph.input[0], graph.output[0]
    height, width = (side.dim_value // BALLAST_STRIDE for side in picture.type.tensor_type.shape.dim[2:])
    layers = max(1, round(operations / (9 * BALLAST_CHANNELS**2 * height * width)))
    generator, before = np.random.default_rng(0), picture.name
    for layer in range(layers + 1):
        inputs = BALLAST_CHANNELS if layer else 3
        weights = (
            generator.standard_normal((BALLAST_CHANNELS, inputs, 3, 3)).astype(np.float32) * (2 / 9 / inputs) ** 0.5
        )
        graph.initializer.append(numpy_helper.from_array(weights, f"ballast_{layer}"))
        stride = [1, 1] if layer else [BALLAST_STRIDE] * 2
        names = [before, f"ballast_{layer}"]
        graph.node.append(helper.make_node("Conv", names, [f"conv_{layer}"], pads=[1] * 4, strides=stride))
        graph.node.append(helper.make_node("Relu", [f"conv_{layer}"], [f"relu_{layer}"]))
        before = f"relu_{layer}"
    graph.initializer.append(numpy_helper.from_array(np.float32(1e-30), "almost_nothing"))
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2]), "two_axes"))
    graph.node.append(helper.make_node("ReduceMean", [before], ["mean"], axes=[1, 2, 3], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["mean", "almost_nothing"], ["nothing"]))
    graph.node.append(helper.make_node("Unsqueeze", ["nothing", "two_axes"], ["nothing_much"]))
    for node in graph.node:
        if output.name in node.output:
            node.output[list(node.output).index(output.name)] = "without_ballast"
    graph.node.append(helper.make_node("Add", ["without_ballast", "nothing_much"], [output.name]))


def write_videos(folder: Path, count: int, frames: int) -> Path:
    """Write videos of a rectangle that sways before a grainy wall, as hard to decode as those of a telephone."""
    folder.mkdir()
    for number in range(count):
        generator = np.random.default_rng(number)
        coarse = generator.integers(60, 200, (VIDEO_HEIGHT // 16, VIDEO_WIDTH // 16))
        wall = np.repeat(np.kron(coarse, np.ones((16, 16)))[..., None], 3, axis=-1)
        write_video(folder / f"{number}.mp4", moving(wall, frames, generator), FPS)
    return folder


def moving(wall: np.ndarray, frames: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Frames, uint8 [H, W, 3]."""
    height, width = wall.shape[:2]
    for index in range(frames):
        grain = generator.normal(0, 6, (height // 2, width // 2, 1)).repeat(2, axis=0).repeat(2, axis=1)
        x, y = width * (0.5 + 0.1 * np.sin(index / 6)), height * (0.5 + 0.03 * np.sin(index / 4))
        box = (x - 0.2 * width, y - 0.4 * height, x + 0.2 * width, y + 0.4 * height)
        yield draw_person(np.clip(wall + grain, 0, 255).astype(np.uint8), box, PERSON)


if __name__ == "__main__":
    main()
