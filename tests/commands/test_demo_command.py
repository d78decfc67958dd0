"""`hia demo`: its options, and its page, used by a Gradio client."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hia.cli import main
from hia.models.animation_model import AnimationModel, save_model
from hia.serving.encoding import read_statement
from hia.serving.limits import PREFIX
from hia.video import probe

STARTS_WITHIN = 900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=nowhere"], "nowhere is not a model directory"),
        (["--url=ftp://here"], "no address of a server"),
        (["--model=.", "--samples=nowhere"], "--samples nowhere: there is no such folder"),
        (["--model=.", "--port=0"], "--port must lie in 1..65535"),
    ],
)
def test_invalid_options_are_named(arguments, message, capsys):
    if "Gradio" not in message:
        pytest.importorskip("gradio")
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo", "--model=."]) == 2
    assert "pip install -e '.[demo]'" in capsys.readouterr().err


@contextmanager
def started(model: AnimationModel, folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address and process of `hia demo` with a tiny model; its temporary files are in `folder / "tmp"`."""
    save_model(model, folder / "model")
    (folder / "tmp").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    limits = {f"{PREFIX}{kind}_BYTES": "1000000" for kind in ("IMAGE", "VIDEO", "KEYPOINT")}
    environment = os.environ | limits | {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "hia.cli", "demo", f"--model={folder / 'model'}", f"--port={port}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(folder / "log", process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def running(model, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """Address and folder of a page for the tests of this file."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("demo")
    with started(model, folder) as (address, _):
        yield address, folder


def _wait_for(log: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while "Ctrl-C ends it" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


@pytest.fixture
def client(running, tmp_path):
    return connected(running[0], tmp_path)


def connected(address, folder):
    from gradio_client import Client

    return Client(address, verbose=False, download_files=str(folder / "downloads"), analytics_enabled=False)


def animate(client, person, dance, **changes):
    from gradio_client import handle_file

    values = {"picture": person and handle_file(person), "motion": dance and handle_file(dance)}
    values |= {"sharpness": 0.75, "guidance_scale": 3.5, "seed": 1, "steps": 3, "align": False, "person": None}
    return client.submit(*(values | changes).values(), api_name="/animate")


@pytest.mark.slow
def test_a_visitor_gets_previews_and_both_videos(client, person, dance):
    job = animate(client, person, dance, steps=20)
    _, _, side_by_side, result = job.result(timeout=600)
    assert any(preview["value"] for _, preview, *_ in job.outputs()), "previews come before"
    result, side_by_side = (Path(shown["value"]) for shown in (result, side_by_side))
    info, row = probe(result), probe(side_by_side)
    assert (info.num_frames, info.width, info.height, row.num_frames) == (5, 32, 48, 5)
    assert row.width > 3 * info.width
    assert "AI-generated video, made with hia" in (read_statement(result) or "")


@pytest.mark.slow
def test_what_is_wrong_is_told_and_the_page_goes_on(client, person, dance, tmp_path):
    from gradio_client.exceptions import AppError

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"<b>no picture</b>")
    with pytest.raises(AppError, match="reference: not a readable image"):
        animate(client, broken, dance).result(timeout=600)
    with pytest.raises(AppError, match="choose a motion"):
        animate(client, person, None).result(timeout=600)
    assert animate(client, person, dance).result(timeout=600)


@pytest.mark.slow
def test_files_of_the_machine_are_not_given_away(running, client, dance):
    import httpx
    from gradio_client.exceptions import AppError

    secret = running[1] / "log"
    assert httpx.get(f"{running[0]}/gradio_api/file={secret}").status_code == 403
    with pytest.raises(AppError):
        animate(client, None, dance, picture={"path": str(secret), "meta": {"_type": "gradio.FileData"}}).result(100)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["https://example.com/person.png", "http://127.0.0.1:9/person.png"])
def test_addresses_are_not_opened(running, client, dance, address):
    import httpx
    from gradio_client.exceptions import AppError

    answer = httpx.get(f"{running[0]}/gradio_api/file={address}")
    assert (answer.status_code, answer.text) == (403, "addresses are not opened: upload the file")
    with pytest.raises(AppError, match="addresses are not opened"):
        animate(client, None, dance, picture={"path": address, "meta": {"_type": "gradio.FileData"}}).result(100)


@pytest.mark.slow
def test_too_large_a_file_is_refused(client, dance, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(2_000_000))
    with pytest.raises(Exception, match=r"(?i)413|max"):
        animate(client, large, dance).result(timeout=600)


@pytest.mark.slow
def test_in_the_end_nothing_is_left(model, person, dance, tmp_path):
    pytest.importorskip("gradio")
    folder = tmp_path / "demo"
    folder.mkdir()
    with started(model, folder) as (address, process):
        animate(connected(address, tmp_path), person, dance).result(timeout=600)
        assert list((folder / "tmp").iterdir()), "while it runs, there are files"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    # onnxruntime leaves a file of its own.
    assert {file.name for file in (folder / "tmp").iterdir()} <= {".ses"}
    assert sorted(path.name for path in folder.iterdir()) == ["log", "model", "tmp"]
    assert "Traceback" not in (folder / "log").read_text()
