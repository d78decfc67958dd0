"""Benchmark of serving: the overhead of a request to a server over the same call in this process.

    python experiments/benchmarks/serving.py --model runs/export/…/model [--repeats 5] [--frames 32]

Both load the model once, and answer once before anything is timed. They take turns, so that a busy machine disturbs
both alike. The watermark and the encoding of the video are measured separately: `hia animate` does not have
the one, and the other is the same.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import driving_signal
from hia.images import load_image
from hia.models.animation_model import AnimationModel, load_model
from hia.pose.keypoint_files import load_keypoints
from hia.serving.client import request_video
from hia.synthetic import write_dancers
from hia.video import read_frames
from orchestration.stages.pyfunc import save_pyfunc

MOST_OVERHEAD = 0.05
FPS = 30
START_SECONDS = 120.0


def main() -> None:
    """Measure both, and print the overhead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="a model directory")
    parser.add_argument("--repeats", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=32, help="(%(default)s)")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = request_files(model, folder, arguments.frames)
        save_pyfunc(arguments.model, folder / "pyfunc")
        with server(folder / "pyfunc", folder / "server.log") as url:
            local, remote, marking, encoding = [], [], [], []
            for number in range(1 + arguments.repeats):
                here = in_process(model, files)
                began = time.perf_counter()
                about = request_video(url, files, {"seed": 0}).about
                there = time.perf_counter() - began
                if number:
                    spent = about["seconds"]
                    local.append(here)
                    remote.append(there - spent["marking"] - spent["encoding"])
                    marking.append(spent["marking"])
                    encoding.append(spent["encoding"])
    medians = [statistics.median(values) for values in (local, remote, marking, encoding)]
    print(f"in this process {medians[0]:.2f} s; by the server {medians[1]:.2f} s, besides {medians[2]:.2f} s for the")
    print(f"watermark and {medians[3]:.2f} s for encoding ({arguments.frames} frames, medians of {arguments.repeats})")
    overhead = statistics.median(there / here for there, here in zip(remote, local, strict=True)) - 1
    print(f"overhead of the server: {100 * overhead:+.1f} % (at most {100 * MOST_OVERHEAD:g} % wanted)")


def request_files(model: AnimationModel, folder: Path, num_frames: int) -> dict[str, Path]:
    """A dancer's picture, and another's motion, as a request has them."""
    first, second = write_dancers(
        folder / "dancers",
        2,
        seconds=num_frames / FPS,
        width=model.config.width,
        height=model.config.height,
        fps=FPS,
        seed=5,
    )
    Image.fromarray(next(iter(read_frames(first)))).save(folder / "person.png")
    return {"reference": folder / "person.png", "driving_keypoints": second.with_suffix(".npz")}


def in_process(model: AnimationModel, files: dict[str, Path]) -> float:
    """Seconds from the files to the frames, as `hia animate` makes them."""
    began = time.perf_counter()
    config = model.config
    keypoints = load_keypoints(files["driving_keypoints"])
    driving = driving_signal(keypoints, config.width, config.height, default_sharpness(model), config.conditions)
    list(animate(model, load_image(files["reference"]), driving, seed=0))
    return time.perf_counter() - began


@contextmanager
def server(model: Path, log: Path) -> Iterator[str]:
    """The URL of a real server, `mlflow models serve`, that answers; it ends with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # MLflow starts uvicorn by its name.
    binaries = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([binaries, os.environ["PATH"]])}
    command = [shutil.which("mlflow", path=environment["PATH"]) or "mlflow", "models", "serve", "-m", str(model)]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-t", "600"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            wait(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers. Raises SystemExit with the end of its log when it does not."""
    latest = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < latest:
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"the server does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server with all processes that it has started."""
    os.killpg(process.pid, 15)
    process.wait(timeout=30)


if __name__ == "__main__":
    main()
