"""A session of the page, from its controls to its views, with a model in this process and with a server."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from hia.animation.inference import Preview
from hia.demo.backend import AnimationResult, LocalBackend, RemoteBackend, driving_pictures
from hia.demo.session import AnimationFailed, AnimationRunner, Controls, run_session
from hia.pose.keypoint_files import load_keypoints
from hia.serving.encoding import read_statement
from hia.serving.generator import Generator
from hia.serving.queue import RequestContext
from hia.serving.schema import parse_request
from hia.video import probe, read_frames
from tests.serving.example_requests import LIMITS, good_row, motion, npz, picture, video


def animated(runner: AnimationRunner, controls: Controls) -> AnimationResult:
    *_, last = runner.run(controls.inputs(runner.backend.defaults))
    assert isinstance(last, AnimationResult)
    return last


def test_the_video_is_that_of_the_served_model(backend, controls):
    expected = backend._generator.generate(parse_request(good_row(), {"seed": 3}, LIMITS), RequestContext(60))
    result = animated(AnimationRunner(backend), controls(seed=3))
    assert result.video == expected.data
    assert (result.about["num_frames"], result.about["seed"], result.about["version"]) == (5, 3, "tiny/1")


def test_controls_left_alone_leave_the_models_own_values(backend, controls, person, dance):
    untouched = controls().inputs(backend.defaults)
    assert untouched.params == {"seed": 0, "align": False}
    assert untouched.files == {"reference": person, "driving_keypoints": dance}
    moved = controls(sharpness=0.1, guidance_scale=2, steps=7.0).inputs(backend.defaults)
    assert moved.params == {"seed": 0, "align": False, "sharpness": 0.1, "guidance_scale": 2, "steps": 7}


def test_controls_reach_the_model(backend, controls):
    runner = AnimationRunner(backend)
    results = [controls(), controls(guidance_scale=1), controls(steps=2), controls(sharpness=0.0)]
    assert len({animated(runner, one).video for one in results}) == 4


def test_short_gaps_in_a_motion_are_filled_here_and_where_a_servers_driving_motion_is_shown(backend, controls, dance):
    arrays = motion()
    arrays["scores"][1:3] = 0  # 0.2 s of 10 frames per second
    dance.write_bytes(npz(arrays))
    shown = [list(animated(AnimationRunner(backend), controls()).driving.frames)]
    shown.append(list(driving_pictures(load_keypoints(dance), 32, 48).frames))
    dance.write_bytes(npz(arrays | {"scores": np.zeros((5, 133))}))
    (nobody, *_) = driving_pictures(load_keypoints(dance), 32, 48).frames
    assert all((frame != nobody).any() for frames in shown for frame in frames)


def test_each_step_is_told_with_a_marked_preview(model, controls):
    class White:
        def embed(self, frame):
            return np.full_like(frame, 255)

    previews: list[Preview] = []
    backend = LocalBackend(Generator(model, LIMITS, "tiny/1", None, White()))
    backend.animate(controls().inputs(backend.defaults), RequestContext(60), previews.append)
    assert [(preview.step, preview.steps) for preview in previews] == [(1, 3), (2, 3), (3, 3)]
    assert all(preview.frame.shape == (48, 32, 3) and preview.frame.min() == 255 for preview in previews)


def test_the_last_view_has_both_videos_and_they_say_what_they_are(backend, controls, tmp_path):
    for view in run_session(AnimationRunner(backend), controls(seed=2), tmp_path):
        if view.result is None:
            continue
        result, row = probe(view.result), probe(view.side_by_side)
        assert (result.num_frames, row.num_frames, row.fps) == (5, 5, 10)
        assert row.width > 3 * result.width
        statement = "AI-generated video, made with hia; model tiny/1; seed 2"
        assert {read_statement(view.result), read_statement(view.side_by_side)} == {statement}
        assert "5 frames of 32×48 at 10 fps, seed 2" in view.status
        break
    else:
        raise AssertionError("no view had a video")


def test_results_are_deleted_once_they_are_shown(backend, controls, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    *_, last = run_session(AnimationRunner(backend), controls(), folder)
    assert last.result.name == "animation.mp4" and not list(folder.iterdir())


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (b"no picture", {}, "reference: not a readable image"),
        (b"", {}, "reference"),
        (None, {"guidance_scale": 101}, "guidance_scale must be a number in 0..100, not 101"),
        (None, {"steps": 21}, "steps must be a whole number in 1..20, not 21"),
        (None, {"seed": -1}, "seed must be"),
        (None, {"picture": None}, "choose a picture of a person"),
        (None, {"motion": None}, "choose a motion"),
        (None, {"align": True}, "this server has no networks that find keypoints"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_served_model(
    backend, controls, person, tmp_path, content, changes, message
):
    if content is not None:
        person.write_bytes(content)
    with pytest.raises(AnimationFailed, match=message):
        list(run_session(AnimationRunner(backend), controls(**changes), tmp_path))


def test_json_that_is_no_text_is_the_visitors_mistake(backend, controls, tmp_path):
    file = tmp_path / "motion.json"
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(AnimationFailed, match="driving_keypoints: this is no JSON"):
        list(run_session(AnimationRunner(backend), controls(motion=str(file)), tmp_path))


def test_of_our_own_mistakes_the_visitor_hears_no_details(backend, controls, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(backend._generator, "generate", lambda *_: {}["secret"])
    with pytest.raises(AnimationFailed, match=r"^the animation failed; the log of hia demo says why$"):
        list(run_session(AnimationRunner(backend), controls(), tmp_path))
    assert "secret" in caplog.text


def test_the_keypoints_of_the_picture_serve_align(backend, controls, tmp_path):
    file = tmp_path / "person.npz"
    file.write_bytes(npz(motion(1, seed=5) | {"width": 40, "height": 60}))
    runner = AnimationRunner(backend)
    aligned = animated(runner, controls(align=True, person=str(file)))
    assert aligned.video != animated(runner, controls(person=str(file))).video, "which without align are not looked at"


def test_who_leaves_ends_the_work(backend, controls):
    runner = AnimationRunner(backend)
    events = runner.run(controls(steps=20).inputs(backend.defaults))
    next(events)
    (thread,) = runner._threads.values()
    events.close()
    thread.join(20)
    assert not thread.is_alive() and not runner._threads
    assert animated(runner, controls()).video, "and the next one is served"


def test_closing_the_runner_ends_all(backend, controls):
    runner = AnimationRunner(backend)
    events = runner.run(controls(steps=20).inputs(backend.defaults))
    next(events)
    runner.close()
    assert not runner._threads
    events.close()


# ----------------------------------------------------------------------------------------------------------- a server


class Server:
    """An HTTP server that gives every request the same answer, once `ready`, and records them."""

    def __init__(self, status: int, answer: dict) -> None:
        bodies, ready = [], threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                ready.wait(30)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_) -> None:
                pass

        self.bodies, self.ready = bodies, ready
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.ready.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answer(backend, controls) -> dict:
    """The response of a server that has made the video of `controls`."""
    result = animated(AnimationRunner(backend), controls())
    return {"predictions": [{"video": base64.b64encode(result.video).decode(), **result.about}]}


def test_a_server_is_asked_for_the_same_and_its_answer_shown(controls, answer, tmp_path):
    with Server(200, answer) as server:
        views = run_session(AnimationRunner(RemoteBackend(server.url, LIMITS)), controls(seed=1), tmp_path)
        assert "Working" in next(views).status
        server.ready.set()
        (view,) = [view for view in views if view.result and probe(view.side_by_side).num_frames == 5]
    assert "5 frames of 32×48" in view.status
    (body,) = server.bodies
    assert body["dataframe_records"] == [good_row()] and body["params"]["seed"] == 1


def test_beside_a_servers_result_the_driving_video_is_shown(controls, answer, tmp_path):
    file = tmp_path / "dance.mp4"
    file.write_bytes(video(5))
    with Server(200, answer) as server:
        server.ready.set()
        result = animated(AnimationRunner(RemoteBackend(server.url, LIMITS)), controls(motion=str(file)))
    frames = list(result.driving.frames)
    assert result.driving.label == "driving video"
    assert np.stack(frames).shape == (5, 48, 32, 3)
    assert np.abs(np.subtract(frames[0], next(read_frames(file))[:48, :32], dtype=int)).mean() > 0
    assert "driving_video" in server.bodies[0]["dataframe_records"][0]


def test_what_a_server_refuses_is_told(controls, tmp_path):
    with Server(400, {"message": "the driving keypoints cannot be used"}) as server:
        server.ready.set()
        with pytest.raises(AnimationFailed, match="400, the driving keypoints cannot be used"):
            list(run_session(AnimationRunner(RemoteBackend(server.url, LIMITS)), controls(), tmp_path))


def test_a_server_that_is_not_there_is_told(controls, tmp_path):
    with pytest.raises(AnimationFailed, match="does not answer"):
        list(run_session(AnimationRunner(RemoteBackend("http://127.0.0.1:9", LIMITS)), controls(), tmp_path))


def test_a_servers_answer_is_not_waited_for_in_the_end(controls, answer):
    with Server(200, answer) as server:
        runner = AnimationRunner(RemoteBackend(server.url, LIMITS))
        events = runner.run(controls().inputs(runner.backend.defaults))
        next(events)
        began = time.monotonic()
        runner.close()
        assert time.monotonic() - began < 30


def test_bad_input_never_reaches_a_server(controls, person, tmp_path):
    person.write_bytes(picture()[:50])
    with pytest.raises(AnimationFailed, match="reference"):
        list(run_session(AnimationRunner(RemoteBackend("http://127.0.0.1:9", LIMITS)), controls(), tmp_path))
