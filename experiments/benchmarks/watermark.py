"""In how many outputs the watermark is found again: as served, and after what platforms do to videos.

    python experiments/benchmarks/watermark.py --model runs/export/…/model [--outputs 40] [--clean FOLDER_OF_VIDEOS]

Outputs are generated dancers, animated by other dancers' motion and marked as the server marks them. `clean` videos and
the outputs before they were marked tell how often the mark is found where it is not.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tqdm import tqdm

from hia.animation import animate, default_sharpness, driving_signal
from hia.data.synthetic import write_dancers
from hia.evaluation.image import psnr
from hia.images import Frame
from hia.models.export import AnimationModel, load_model
from hia.pose.sidecar import load_keypoints
from hia.serving.looking import spread_frames
from hia.serving.watermark import ENOUGH, NUM_BITS, Watermark
from hia.video import read_frames, write_video
from hia.video.writing import VideoWriter

FPS, STEPS = 30, 5
# Of a clean video, as `hia verify` looks at it.
CLEAN_FRAMES = 16
FOUND = f"found, of {NUM_BITS} bits {ENOUGH} must agree"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="a model directory")
    parser.add_argument("--outputs", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=6, help="of each output (%(default)s)")
    parser.add_argument("--clean", type=Path, metavar="FOLDER", help="real videos, in which no mark may be found")
    arguments = parser.parse_args()
    model, mark = load_model(arguments.model), Watermark()
    agreements: dict[str, list[int]] = {}
    noise = []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        outputs = generated(model, folder, arguments.outputs, arguments.frames)
        for frames in tqdm(outputs, total=arguments.outputs, unit="output"):
            marked = [mark.written(frame) for frame in frames]
            noise += [float(dB) for dB in psnr(np.stack(frames), np.stack(marked))]
            agreements.setdefault("not marked", []).append(mark.agreement(frames))
            for name, treat in TREATMENTS.items():
                agreements.setdefault(name, []).append(mark.agreement(treat(marked, folder / "treated.mp4")))
    for video in sorted(arguments.clean.glob("*.mp4")) if arguments.clean else ():
        agreements.setdefault("real videos", []).append(mark.agreement(spread_frames(video, CLEAN_FRAMES)))
    print(f"| | {FOUND} | bits that agree |\n|---|---|---|")
    for name, bits in agreements.items():
        found = sum(one >= ENOUGH for one in bits)
        print(f"| {name} | {found} of {len(bits)} | {min(bits)}–{max(bits)} |")
    print(f"\nPSNR of marked frames against the same without: {min(noise):.1f}–{max(noise):.1f} dB")


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
