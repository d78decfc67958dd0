"""`ray job submit` to a cluster that was started beforehand, as on a real one."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hia.models.animation_model import load_model
from tests.conftest import REPOSITORY
from tests.e2e.pipeline import SMALL, environment, folder_of, write_config

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("submitted jobs")]

RAY = Path(sys.executable).parent / "ray"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def submit(tmp_path_factory):
    """`submit(*arguments of run_all.py)` on a cluster of its own; what the job did."""
    folder = tmp_path_factory.mktemp("cluster")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    env = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token), RAY_USAGE_STATS_ENABLED="0")
    env["PATH"] = f"{RAY.parent}{os.pathsep}{env['PATH']}"
    port, page, agent = free_port(), free_port(), free_port()
    command = [RAY, "start", "--head", "--block", "--port", port, "--dashboard-port", page, "--num-cpus", 4]
    command += ["--object-store-memory", 200_000_000, "--dashboard-host", "127.0.0.1"]
    command += ["--dashboard-agent-listen-port", agent]
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(list(map(str, command)), env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{page}"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        job = [RAY, "job", "submit", "--address", address, "--working-dir", REPOSITORY, "--", "python"]
        job += ["orchestration/run_all.py", *arguments]
        return subprocess.run(list(map(str, job)), env=env, capture_output=True, text=True, timeout=3600)

    # The address answers before the agent is there that starts jobs.
    deadline = time.monotonic() + 900
    while subprocess.run(
        [RAY, "job", "submit", "--address", address, "--", "true"], env=env, capture_output=True
    ).returncode:
        assert time.monotonic() < deadline and head.poll() is None, (folder / "head.log").read_text()[-2000:]
        time.sleep(1)
    yield run
    family = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=300)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_submitted_job_trains_and_leaves_its_model_in_the_storage(submit, tmp_path):
    short = {"spatial": {"iterations": 2}, "regional": {"iterations": 0}, "temporal_half": {"iterations": 0}}
    stages = short | {"temporal_full": {"iterations": 2, "frames": 4, "frame_stride": [1, 2]}}
    training = SMALL["training"] | {"workers": 1}  # two of them train in `test_real_clips`
    config = write_config(tmp_path, stages=stages, training=training)
    done = submit("--preset", config, "--set", f"storage={tmp_path / 'storage'}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert load_model(folder_of(tmp_path / "storage", "export") / "model").animator.has_motion


def test_a_job_whose_stage_fails_is_failed_and_says_why_at_the_end(submit, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    arguments = ["--preset", write_config(tmp_path), "--data", tmp_path / "videos"]
    done = submit(*arguments, "--set", f"storage={tmp_path / 'storage'}")
    assert done.returncode == 1
    last = [line for line in (done.stdout + done.stderr).splitlines() if "run_all:" in line][-1]
    assert "preprocess failed" in last or "broken.mp4" in last


def test_a_job_with_a_place_that_goes_with_it_is_refused(submit, tmp_path):
    done = submit("--preset", write_config(tmp_path), "--data", "videos")
    assert done.returncode == 1 and "must be an absolute path" in done.stdout + done.stderr
