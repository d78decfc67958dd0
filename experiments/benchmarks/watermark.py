"""Benchmark of the watermark: share of outputs in which it is found, as served and after typical edits.

    python experiments/benchmarks/watermark.py --model runs/export/…/model [--outputs 40] [--real FOLDER_OF_VIDEOS]

Outputs are generated dancers, animated by other dancers' motion and marked as the server marks them; real videos stand
for outputs of a larger model. Both tell, before they are marked, how often the mark is found where it is not.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tqdm import tqdm

from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import driving_signal
from hia.evaluation.image import psnr
from hia.images import Frame, fit_to_size
from hia.models.animation_model import AnimationModel, load_model
from hia.pose.keypoint_files import load_keypoints
from hia.serving.watermark import ENOUGH, NUM_BITS, Watermark, evenly_spaced_frames
from hia.synthetic import write_dancers
from hia.video import read_frames, write_video
from hia.video.write import VideoWriter

FPS, STEPS = 30, 5
# Of a real video, as `hia verify` looks at it; and with the mark, in the size of the preset `paper`.
CLEAN_FRAMES, LARGE_FRAMES, LARGE = 16, 4, (512, 896)


def main() -> None:
    """Measure, and print a Markdown table for each size of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="a model directory")
    parser.add_argument("--outputs", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=6, help="of each output (%(default)s)")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="of real videos: as they are, and as large outputs")
    arguments = parser.parse_args()
    model, mark = load_model(arguments.model), Watermark()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        outputs = generated(model, folder, arguments.outputs, arguments.frames)
        report(f"outputs, {model.config.width}×{model.config.height}", arguments.outputs, outputs, mark, folder)
        if arguments.real:
            videos = sorted(arguments.real.glob("*.mp4"))
            frames = (
                [fit_to_size(frame, *LARGE) for frame in evenly_spaced_frames(video, LARGE_FRAMES)] for video in videos
            )
            report(f"real videos, {LARGE[0]}×{LARGE[1]}", len(videos), frames, mark, folder)
            clean = [mark.agreement(evenly_spaced_frames(video, CLEAN_FRAMES)) for video in videos]
            print(f"\nreal videos in their own size, {CLEAN_FRAMES} frames: {row(clean)}")


def report(name: str, count: int, videos: Iterable[list[Frame]], mark: Watermark, folder: Path) -> None:
    """Mark videos, edit them, and read the watermark."""
    agreements: dict[str, list[int]] = {}
    noise = []
    for frames in tqdm(videos, total=count, unit="video"):
        marked = [mark.embed(frame) for frame in frames]
        noise += [float(value) for value in psnr(np.stack(frames), np.stack(marked))]
        agreements.setdefault("not marked", []).append(mark.agreement(frames))
        for treatment, treat in TREATMENTS.items():
            agreements.setdefault(treatment, []).append(mark.agreement(treat(marked, folder / "treated.mp4")))
    print(f"\n| {name} | found, of {NUM_BITS} bits {ENOUGH} must agree | bits that agree |\n|---|---|---|")
    for treatment, bits in agreements.items():
        print(f"| {treatment} | {row(bits)} |")
    print(f"\nPSNR of marked frames against the same without: {min(noise):.1f}–{max(noise):.1f} dB")


def row(bits: Sequence[int]) -> str:
    """Cells of the table."""
    return f"{sum(one >= ENOUGH for one in bits)} of {len(bits)} | {min(bits)}–{max(bits)}"


def generated(model: AnimationModel, folder: Path, count: int, num_frames: int) -> Iterator[list[Frame]]:
    """Outputs of the model, not marked: each dancer by the motion of the next."""
    config = model.config
    sampling = replace(config.sampling, steps=STEPS)
    videos = write_dancers(
        folder / "dancers", count, seconds=num_frames / FPS, width=config.width, height=config.height, fps=FPS, seed=11
    )
    for number, video in enumerate(videos):
        motion = load_keypoints(videos[(number + 1) % count].with_suffix(".npz"))
        driving = driving_signal(motion, config.width, config.height, default_sharpness(model), config.conditions)
        yield list(animate(model, next(iter(read_frames(video))), driving, sampling, seed=number))


def compressed(crf: int) -> Callable[[Sequence[Frame], Path], list[Frame]]:
    """As served, and then once more with H.264 at that rate factor."""

    def treat(frames: Sequence[Frame], file: Path) -> list[Frame]:
        with VideoWriter(file, FPS, crf=crf) as writer:
            for frame in served(frames, file):
                writer.write(frame)
        return list(read_frames(file))

    return treat


def served(frames: Sequence[Frame], file: Path) -> list[Frame]:
    """Written as the server writes an mp4, and read again."""
    write_video(file, frames, FPS)
    return list(read_frames(file))


def cropped(frames: Sequence[Frame], file: Path) -> list[Frame]:
    """As served, less 10 % at each side."""
    height, width = frames[0].shape[:2]
    top, left = height // 10, width // 10
    return [np.ascontiguousarray(frame[top:-top, left:-left]) for frame in served(frames, file)]


def halved(frames: Sequence[Frame], file: Path) -> list[Frame]:
    """As served, at half the size."""
    height, width = frames[0].shape[:2]
    return [
        cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for frame in served(frames, file)
    ]


TREATMENTS: dict[str, Callable[[Sequence[Frame], Path], list[Frame]]] = {
    "as served": served,
    "and H.264 at CRF 23": compressed(23),
    "and H.264 at CRF 28": compressed(28),
    "and H.264 at CRF 33": compressed(33),
    "less 10 % at each side": cropped,
    "at half the size": halved,
}


if __name__ == "__main__":
    main()
