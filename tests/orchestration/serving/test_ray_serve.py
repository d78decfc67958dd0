"""The registered model behind Ray Serve, on a cluster of this machine, with one replica on the CPU."""

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest
import requests
import yaml
from ray import serve
from ray.serve.schema import ServeDeploySchema
from ray.util import list_named_actors

from hia.cli import main
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.serving.errors import RequestError
from hia.serving.generator import GeneratedVideo, Generator
from hia.serving.queue import RequestContext
from hia.serving.schema import decode_request, parse_body, parse_request
from hia.serving.watermark import Watermark
from orchestration.serving.model_source import pinned, recorded_settings
from orchestration.stages.pyfunc import save_pyfunc
from tests.conftest import REPOSITORY
from tests.serving import malformed
from tests.serving.example_requests import LIMITS, good_row, motion, npz, picture, with_keypoints
from tests.serving.over_http import BODIES, check_body_is_refused, check_params_are_refused

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

CONFIG = REPOSITORY / "infra" / "ray_serve" / "serve.yaml"
STARTS_WITHIN = 900
# The most that is allowed: it takes long enough for other requests to arrive meanwhile.
LARGE = {"seed": 1, "steps": LIMITS.steps, "width": 48, "height": 64}


@pytest.fixture(scope="module")
def registry(tiny_config, as_if_trained, tmp_path_factory) -> Iterator[Path]:
    """A folder with the MLflow model of a tiny model directory, which is the champion in a registry."""
    config = tiny_config("schedule.prediction_type=v_prediction")
    animator = as_if_trained(build_animator(config, motion=True)[0])
    folder = tmp_path_factory.mktemp("registry")
    save_model(AnimationModel(config, animator, build_codec(config.codec)), folder / "model")
    save_pyfunc(folder / "model", folder / "pyfunc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client = mlflow.MlflowClient()
        client.create_registered_model("hia")
        client.create_model_version("hia", str(folder / "pyfunc"))
        client.set_registered_model_alias("hia", "champion", "1")
        yield folder


@dataclass(frozen=True)
class Server:
    """The address of the application, and the process of `serve run`."""

    url: str
    process: subprocess.Popen

    def post(self, content: Any = None, **options: Any) -> requests.Response:
        given = {"json": content} if content is not None else {}
        return requests.post(f"{self.url}/invocations", **{"timeout": 600} | given | options)

    def ask(self, row: dict[str, Any] | None = None, **params: Any) -> requests.Response:
        return self.post({"dataframe_records": [good_row() if row is None else row], "params": params})


@pytest.fixture(scope="module")
def server(cluster, registry, tmp_path_factory) -> Iterator[Server]:
    """`serve run` with the configuration that comes with the code, at a free port, without GPUs."""
    folder, port = tmp_path_factory.mktemp("serve"), _free_port()
    (folder / "serve.yaml").write_text(yaml.safe_dump(_configuration(port)))
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(folder / "serve.yaml"), "--address", cluster]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, preexec_fn=_interruptible)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", process, folder / "log")
        yield Server(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()
        serve.shutdown()  # its actors would outlive it, on the cluster that others use after it


def _configuration(port: int) -> dict[str, Any]:
    """A configuration of one replica, which computes one request while one waits."""
    config = yaml.safe_load(CONFIG.read_text())
    (application,) = config["applications"]
    config["http_options"]["port"] = port
    application["args"]["limits"] = asdict(LIMITS)
    application["runtime_env"]["env_vars"] |= {
        "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"],
        "OMP_NUM_THREADS": "1",
    }
    replica = application["deployments"][1]
    replica["ray_actor_options"]["num_gpus"] = 0
    replica["autoscaling_config"]["max_replicas"] = 1
    replica |= {"max_ongoing_requests": 1, "max_queued_requests": 1}
    return config


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _interruptible() -> None:
    """Make a child process handle Ctrl-C: a process started in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None and "Traceback" not in log.read_text():
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.3)
    raise AssertionError(f"the application did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def expected(registry) -> Callable[..., GeneratedVideo]:
    """A function that generates the video of a row and parameters in this process."""
    digest = hashlib.sha256((registry / "model" / "hia.json").read_bytes()).hexdigest()[:16]
    generator = Generator(load_model(registry / "model"), LIMITS, f"hia/1 sha256:{digest}", None, Watermark())
    return lambda row=None, **params: generator.generate(
        parse_request(row or good_row(), params, LIMITS), RequestContext(60)
    )


@pytest.fixture(scope="module")
def large(expected) -> tuple[dict[str, Any], bytes, float]:
    """A large request, its video, and the time that this takes, s."""
    row, began = with_keypoints(npz(motion(frames=LIMITS.frames))), time.monotonic()
    made = expected(row, **LARGE).data
    return {"dataframe_records": [row], "params": LARGE}, made, time.monotonic() - began


def answer(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (only,) = response.json()["predictions"]
    return only


def video(response: requests.Response) -> bytes:
    return base64.b64decode(answer(response)["video"])


def test_the_answer_is_what_the_model_makes_in_this_process(server, expected):
    found, made = answer(server.ask(seed=5)), expected(seed=5)
    assert base64.b64decode(found.pop("video")) == made.data
    assert found.pop("seconds").keys() == made.seconds.keys()
    assert found == {name: getattr(made, name) for name in found} and found["version"].startswith("hia/1 sha256:")


@pytest.mark.parametrize("layout", ["dataframe_split", "instances", "inputs"])
def test_other_layouts_of_the_same_row_are_taken(server, expected, layout):
    row = good_row()
    split = {"columns": list(row), "data": [list(row.values())]}
    content = {layout: {"dataframe_split": split, "instances": [row], "inputs": row}[layout]}
    assert video(server.post(content)) == expected().data


def test_malformed_rows_are_refused_in_the_words_of_the_schema(server):
    kinds = {}
    for case, (row, message) in malformed.rows().items():
        with pytest.raises(RequestError) as refused:
            decode_request(parse_body(json.dumps({"dataframe_records": [row]}).encode(), LIMITS), LIMITS)
        response = server.ask(row)
        kinds[response.status_code] = response.json()["error_code"]
        assert response.status_code == refused.value.status, f"{case}: {response.text[:300]}"
        assert response.json()["message"] == str(refused.value) and message in str(refused.value), case
    assert kinds == {400: "INVALID_PARAMETER_VALUE", 413: "TOO_LARGE"}


@pytest.mark.parametrize("case", malformed.params())
def test_malformed_parameters_are_answered_with_400(server, case):
    check_params_are_refused(server.post, case)


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_request_is_answered_with_4xx(server, case):
    check_body_is_refused(server.post, case)


def test_the_client_writes_the_video(server, expected, tmp_path, capsys):
    (tmp_path / "person.png").write_bytes(picture())
    (tmp_path / "motion.npz").write_bytes(npz(motion()))
    given = ["--reference", str(tmp_path / "person.png"), "--driving", str(tmp_path / "motion.npz")]
    assert main(["client", server.url, *given, "--output", str(tmp_path / "out.mp4"), "--seed", "5"]) == 0
    assert (tmp_path / "out.mp4").read_bytes() == expected(seed=5).data
    assert "5 frames of 32×48 at 10.0 fps; seed 5, model hia/1 sha256:" in capsys.readouterr().out


def test_who_comes_when_the_queue_is_full_is_sent_away_at_once(server, expected, large):
    with ThreadPoolExecutor(2) as threads:
        computed = threads.submit(server.post, large[0])
        time.sleep(0.7)
        waiting = threads.submit(server.ask, seed=2)
        time.sleep(0.4)
        for _ in range(3):
            began = time.monotonic()
            refused = server.ask(seed=3)
            assert time.monotonic() - began < 10 and refused.status_code == 429
            assert refused.json()["error_code"] == "RESOURCE_EXHAUSTED"
            assert "come again later" in refused.json()["message"] and int(refused.headers["Retry-After"]) > 0
        assert requests.get(f"{server.url}/ping", timeout=5).ok
        assert not computed.done() and not waiting.done()
    assert video(computed.result()) == large[1]
    assert video(waiting.result()) == expected(seed=2).data


def test_twenty_at_once_are_answered_rightly_or_told_to_come_again(server, expected):
    videos = [expected(seed=seed).data for seed in range(3)]
    with ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(lambda number: server.ask(seed=number % 3), range(20)))
    assert {response.status_code for response in responses} == {200, 429}
    assert all(video(each) == videos[number % 3] for number, each in enumerate(responses) if each.ok)


def test_work_ends_when_the_client_leaves(server, expected, large):
    content, _, whole = large
    with pytest.raises(requests.Timeout):
        server.post(content, timeout=whole / 8)
    began = time.monotonic()
    found = video(server.ask(seed=1))
    assert time.monotonic() - began < whole / 2
    assert found == expected(seed=1).data


def test_ctrl_c_leaves_nothing_behind(server):
    """This test must be the last one that uses the server, because it ends it."""
    assert len(list_named_actors(all_namespaces=True)) >= 4  # Serve's controller and proxy, the ingress, the replica
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    assert list_named_actors(all_namespaces=True) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/ping", timeout=5)
    names = [process.name() for process in psutil.Process().children(recursive=True)]
    assert not [name for name in names if "Serve" in name or "Replica" in name]


# ------------------------------------------------------------------------------------------------- without a server


def test_the_configuration_is_one_that_serve_takes():
    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    (application,) = config.applications
    assert {deployment.name for deployment in application.deployments} == {"Ingress", "Replica"}


def test_an_alias_is_the_version_that_it_means_now(registry):
    assert pinned("models:/hia@champion") == pinned("models:/hia/latest") == "models:/hia/1"
    assert recorded_settings("models:/hia/1")["watermark"] is True


def test_a_folder_is_a_model_directory_or_an_mlflow_model(registry):
    assert pinned(str(registry / "model")) == str(registry / "model")
    inside = pinned(str(registry / "pyfunc"))
    assert inside == str(registry / "pyfunc" / "artifacts" / "model")
    assert recorded_settings(str(registry / "model")) == {}
    assert recorded_settings(inside) == recorded_settings("models:/hia/1")
    with pytest.raises(FileNotFoundError, match="is no model"):
        pinned(str(registry))
