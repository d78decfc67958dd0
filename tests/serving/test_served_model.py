"""A model behind `mlflow models serve`, in a process of its own: it answers, refuses, and stays healthy."""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import mlflow
import pandas
import psutil
import pytest
import requests
from mlflow.exceptions import MlflowException

from hia.cli import main
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.serving.generator import Generator
from hia.serving.limits import PREFIX
from hia.serving.queue import CURRENT_REQUEST, RequestContext
from hia.serving.schema import parse_fields, parse_request
from hia.serving.watermark import Watermark
from hia.video import probe
from orchestration.stages.pyfunc import example_request, save_pyfunc
from tests.serving import malformed
from tests.serving.example_requests import LIMITS, good_row, motion, npz, picture
from tests.serving.over_http import BODIES, MEGABYTE, check_body_is_refused, check_params_are_refused

pytestmark = pytest.mark.slow

STARTS_WITHIN = 900


@dataclass(frozen=True)
class Server:
    """A server's address, its process, its temporary folder and its model directory."""

    url: str
    process: psutil.Process
    temporary: Path
    model: Path

    def post(self, content: Any = None, **options: Any) -> requests.Response:
        given = {"json": content} if content is not None else {}
        return requests.post(f"{self.url}/invocations", timeout=600, **given, **options)

    def ask(self, row: dict[str, Any] | None = None, **params: Any) -> requests.Response:
        return self.post({"dataframe_records": [good_row() if row is None else row], "params": params})

    def memory(self) -> int:
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes)


@pytest.fixture(scope="module")
def saved(tiny_config, as_if_trained, tmp_path_factory) -> Path:
    """The MLflow model of a tiny model directory."""
    config = tiny_config("schedule.prediction_type=v_prediction")
    animator = as_if_trained(build_animator(config, motion=True)[0])
    folder = tmp_path_factory.mktemp("served")
    save_model(AnimationModel(config, animator, build_codec(config.codec)), folder / "model")
    save_pyfunc(folder / "model", folder / "pyfunc")
    return folder / "pyfunc"


@pytest.fixture(scope="module")
def server(saved, tmp_path_factory) -> Iterator[Server]:
    """A server that finds our code only in the model, not in this repository."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "tmp").mkdir()
    limits = {f"{PREFIX}{field.name.upper()}": str(getattr(LIMITS, field.name)) for field in fields(LIMITS)}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | limits
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(folder / "tmp")}
    environment |= {"OMP_NUM_THREADS": "1", "HOME": str(folder)}
    port = _free_port()
    command = ["mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local"]
    command += ["-h", "127.0.0.1", "-p", str(port), "-t", "90"]
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    process = psutil.Process(started.pid)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", started, folder / "log")
        shutil.rmtree(folder / "tmp")  # made by MLflow during start-up
        (folder / "tmp").mkdir()
        yield Server(f"http://127.0.0.1:{port}", process, folder / "tmp", saved / "artifacts" / "model")
    finally:
        for one in [*process.children(recursive=True), process]:
            one.terminate()
        started.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def answer(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (only,) = response.json()["predictions"]
    return only


def version_of(model: Path) -> str:
    return f"sha256:{hashlib.sha256((model / 'hia.json').read_bytes()).hexdigest()[:16]}"


def test_the_answer_is_what_the_model_makes_in_this_process(server):
    found = answer(server.ask(seed=5))
    generator = Generator(load_model(server.model), LIMITS, version_of(server.model), None, Watermark())
    expected = generator.generate(parse_request(good_row(), {"seed": 5}, LIMITS), RequestContext(60))
    assert base64.b64decode(found["video"]) == expected.data
    about = {name: found[name] for name in ("format", "num_frames", "width", "height", "fps", "seed")}
    assert about == {"format": "mp4", "num_frames": 5, "width": 32, "height": 48, "fps": 10.0, "seed": 5}
    assert found["version"] == expected.version and set(found["seconds"]) == set(expected.seconds)


def test_the_input_example_of_the_model_is_answered(server, saved):
    example = json.loads((saved / "serving_input_example.json").read_text())
    assert answer(server.post(example))["num_frames"] == 2


def test_the_client_writes_the_video(server, tmp_path, capsys):
    (tmp_path / "person.png").write_bytes(picture())
    (tmp_path / "motion.npz").write_bytes(npz(motion()))
    given = ["--reference", str(tmp_path / "person.png"), "--driving", str(tmp_path / "motion.npz")]
    assert main(["client", server.url, *given, "--output", str(tmp_path / "out.mp4"), "--seed", "5"]) == 0
    assert (tmp_path / "out.mp4").read_bytes() == base64.b64decode(answer(server.ask(seed=5))["video"])
    assert probe(tmp_path / "out.mp4").num_frames == 5
    assert "5 frames of 32×48 at 10.0 fps; seed 5, model sha256:" in capsys.readouterr().out


def test_the_client_repeats_the_servers_words_and_leaves_no_file(server, tmp_path, capsys):
    (tmp_path / "person.png").write_bytes(b"no picture")
    (tmp_path / "motion.npz").write_bytes(npz(motion()))
    given = ["--reference", str(tmp_path / "person.png"), "--driving", str(tmp_path / "motion.npz")]
    assert main(["client", server.url, *given, "--output", str(tmp_path / "out.gif")]) == 2
    assert "400, reference: not a readable image" in capsys.readouterr().err
    assert {file.name for file in tmp_path.iterdir()} == {"person.png", "motion.npz"}


def test_no_malformed_request_does_any_harm(server):
    """Each gets a 4xx response with an explanation; then memory is free again, and a valid request is answered."""
    before = base64.b64decode(answer(server.ask(seed=1))["video"])
    for row, _ in malformed.rows().values():
        server.ask(row)
    memory = server.memory()
    statuses = Counter()
    for case, (row, message) in malformed.rows().items():
        response = server.ask(row)
        statuses[response.status_code] += 1
        assert response.status_code in (400, 413), f"{case}: {response.text[:300]}"
        assert message in response.json()["message"], case
        assert len(response.content) < 2000 and "Traceback" not in response.text, case
    assert statuses.total() > 85
    assert server.memory() - memory < 100 * MEGABYTE
    assert base64.b64decode(answer(server.ask(seed=1))["video"]) == before


@pytest.mark.parametrize("case", malformed.params())
def test_malformed_parameters_are_answered_with_400(server, case):
    check_params_are_refused(server.post, case)


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_request_is_answered_with_4xx(server, case):
    check_body_is_refused(server.post, case)


def test_a_body_without_a_stated_length_is_not_read_without_end(server):
    parts = (b" " * MEGABYTE for _ in range(50))
    response = server.post(data=parts, headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_fifty_at_once_are_answered_rightly_or_told_to_come_again(server):
    expected = {seed: answer(server.ask(seed=seed))["video"] for seed in range(3)}
    with ThreadPoolExecutor(50) as threads:
        responses = list(threads.map(lambda number: server.ask(seed=number % 3), range(50)))
    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) == {200, 429} and statuses[200] >= LIMITS.waiting + 1
    for number, response in enumerate(responses):
        if response.ok:
            assert answer(response)["video"] == expected[number % 3]
        else:
            assert "come again later" in response.json()["message"] and int(response.headers["Retry-After"]) > 0
    assert answer(server.ask(seed=0))["video"] == expected[0]


def test_nothing_is_left_in_the_servers_temporary_folder(server):
    answer(server.ask(steps=1))
    server.ask(malformed.rows()["picture cut off"][0])
    assert list(server.temporary.iterdir()) == []


# ------------------------------------------------------------------------------------------------- without a server


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "has been altered"),
        ("unet/config.json", "has been altered"),
        ("unet/diffusion_pytorch_model.bin", "was not saved with this model"),
        ("optimizer.pkl", "was not saved with this model"),
    ],
)
def test_a_model_that_was_tampered_with_is_not_loaded(saved, tmp_path, file, message):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    with (copy / "artifacts" / "model" / file).open("ab") as opened:
        opened.write(b"\x80\x04.")
    with pytest.raises(ValueError, match=message):
        mlflow.pyfunc.load_model(str(copy))


def test_used_without_a_server_the_same_mistakes_are_mlflows_400(saved):
    model = mlflow.pyfunc.load_model(str(saved))
    (made,) = model.predict(pandas.DataFrame([example_request()]), params={"steps": 1})
    assert made["num_frames"] == 2
    for row, params, message in (
        (example_request() | {"reference": "no base64!"}, {}, "reference: this is no base64"),
        (example_request(), {"steps": 10**6}, "steps must be a whole number in 1..100"),
    ):
        with pytest.raises(MlflowException, match=message) as refused:
            model.predict(pandas.DataFrame([row]), params=params)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match="2 rows"):
        model.predict(pandas.DataFrame([example_request()] * 2))


def test_a_request_that_the_middleware_has_parsed_is_not_parsed_again(saved):
    model, fields = mlflow.pyfunc.load_model(str(saved)), parse_fields(good_row(), {"steps": 1}, LIMITS)
    token = CURRENT_REQUEST.set(RequestContext(60, fields))
    try:
        (made,) = model.predict(pandas.DataFrame([example_request() | {"reference": "no base64!"}]))
    finally:
        CURRENT_REQUEST.reset(token)
    assert (made["num_frames"], made["width"]) == (5, 32)


def test_the_limits_are_recorded_with_the_model(saved):
    recorded = mlflow.pyfunc.load_model(str(saved)).model_config["limits"]
    assert set(recorded) == set(asdict(LIMITS))
