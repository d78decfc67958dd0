"""Running `run_all.py` as users do, as a process that can be killed, and looking at what it leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import yaml
from safetensors.torch import load_file

from tests.conftest import PATIENT_RAY, REPOSITORY

SCRIPT = REPOSITORY / "orchestration" / "run_all.py"
CLIPS = ("gesture_man_kitchen", "gesture_woman_bench")

SMALL = {
    "base": str(REPOSITORY / "tests" / "tiny.yaml"),
    "width": 64,
    "height": 112,
    "network": {"block_out_channels": [32, 32], "attention_levels": [False, True], "cross_attention_dim": 16},
    "codec": {"kind": "pixel", "weights": None, "factor": 4},
    "preprocess": {"latents": True, "longest_seconds": 3.0},
    "dancers": {"count": 3, "seconds": 1.5, "seed": 3},
    "stages": {
        "temporal_half": {"frames": 4, "frame_stride": [1, 2]},
        "temporal_full": {"frames": 4, "frame_stride": [1, 2]},
    },
    "training": {"workers": 2, "validate_every": 4, "validation_samples": 2, "preview_frames": 4, "preview_clips": 1},
    "sampling": {"steps": 2, "window": 4, "overlap": 1, "guidance_scale": 1.0},
}


def write_config(folder: Path, **changes: object) -> Path:
    """A YAML file of the small chain; `changes` replace whole top-level keys."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL | changes), encoding="utf-8")
    return file


@dataclass(frozen=True)
class Ended:
    """The end of a run: its exit status and its output."""

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """A user's environment: no tracking server, one thread per process."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "RAY_"))}
    return kept | PATIENT_RAY | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | more


def run_all(*arguments: object, timeout: float = 3600, **env: str) -> Ended:
    """Run it to its end."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**env),
        cwd=Path(sys.executable).parent,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def run_and_kill(
    arguments: Sequence[object], victim: Callable[[psutil.Process], psutil.Process | None], log: Path
) -> int:
    """Run it, and SIGKILL the process that `victim` names once it names one; returns the exit status.

    If that was the driver, nothing writes any more when this returns.
    """
    with log.open("w") as file:
        driver = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)], stdout=file, stderr=file, env=environment()
        )
    family = psutil.Process(driver.pid)
    relatives: set[psutil.Process] = set()
    while driver.poll() is None:
        with contextlib.suppress(psutil.Error):
            relatives |= set(family.children(recursive=True))
        target = victim(family)
        if target is not None:
            with contextlib.suppress(psutil.Error):
                target.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    status = driver.wait(timeout=3600)
    wait_for_writers(relatives)
    return status


def wait_for_writers(relatives: Iterable[psutil.Process]) -> None:
    """Wait until the descendants of a killed driver are gone, except Ray's own, which linger for a minute."""
    psutil.wait_procs([process for process in relatives if not _is_rays_own(process)], timeout=300)


def _is_rays_own(process: psutil.Process) -> bool:
    """Its agents, its servers, and workers that wait for something to do: those at work are named for it."""
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return True  # gone
    return "Agent" in title or f"{os.sep}ray{os.sep}" in title


def training_worker(driver: psutil.Process, rank: int = 0) -> psutil.Process | None:
    """One of the driver's Ray Train workers, once it trains."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in driver.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    found.append(process)
    return sorted(found, key=lambda process: process.pid)[rank] if len(found) > rank else None


def folder_of(storage: Path, stage: str) -> Path | None:
    """The stage's newest folder."""
    found = sorted((storage / stage).glob("*/stage.json"), key=lambda file: file.stat().st_mtime)
    return found[-1].parent if found else None


def weights(storage: Path) -> dict[str, torch.Tensor]:
    """Every trained weight of every stage, and of the exported model."""
    tensors = {}
    for file in sorted(storage.glob("*/*/weights/*.safetensors")):
        stage = file.parent.parent.parent.name
        tensors |= {f"{stage}/{file.stem}/{name}": value for name, value in load_file(file).items()}
    return tensors
