"""From a decoded request to the bytes of a video: reproducible, one at a time, stopped when cancelled."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hia.animation.inference import animate, default_sharpness
from hia.conditions.driving import driving_signal
from hia.models.animation_model import AnimationModel
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.pose.keypoints import fill_short_gaps
from hia.pose.top_down import PoseModels, TopDownEstimator
from hia.serving.driving_motion import at_rate
from hia.serving.encoding import encode_video
from hia.serving.errors import OutOfTime, RequestError
from hia.serving.generator import PHASES, Generator, ProgressCallbacks
from hia.serving.queue import RequestContext
from hia.serving.schema import parse_request
from hia.video import probe, read_frames
from hia.weights.find import MissingWeights
from tests.pose.tiny_onnx import draw_person, write_detector, write_pose
from tests.serving.example_requests import (
    LIMITS,
    base64_of,
    good_row,
    motion,
    npz,
    picture,
    video,
    video_of,
    with_keypoints,
    with_video,
)


def no_networks():
    raise MissingWeights("none here")


@pytest.fixture(scope="module")
def model(tiny_config, as_if_trained):
    config = tiny_config("schedule.prediction_type=v_prediction")
    return AnimationModel(config, as_if_trained(build_animator(config, motion=True)[0]), build_codec(config.codec))


@pytest.fixture
def generator(model):
    return Generator(model, LIMITS, "tiny/1", no_networks)


@pytest.fixture(scope="module")
def seeing(model, tmp_path_factory):
    """A generator with pose networks, for which people are coloured rectangles."""
    folder = tmp_path_factory.mktemp("networks")
    write_detector(folder / "detector.onnx")
    write_pose(folder / "pose.onnx")
    pose = str(folder / "pose.onnx")
    return Generator(
        model,
        LIMITS,
        "tiny/1",
        lambda: TopDownEstimator(PoseModels(str(folder / "detector.onnx"), pose, pose), threads=1),
    )


def ask(generator, row=None, context=None, **params):
    return generator.generate(parse_request(row or good_row(), params, LIMITS), context or RequestContext(60))


def decoded(result, tmp_path):
    (tmp_path / "video.mp4").write_bytes(result.data)
    return np.stack(list(read_frames(tmp_path / "video.mp4")))


# ------------------------------------------------------------------------------------------------------------- answers


def test_the_video_is_that_of_the_library_call(generator, model):
    request = parse_request(good_row(), {"seed": 3}, LIMITS)
    result = generator.generate(request, RequestContext(60))
    driving = driving_signal(request.driving, 32, 48, default_sharpness(model), model.config.conditions)
    frames = list(animate(model, request.reference, driving, seed=3))
    assert result.data == encode_video(frames, 10.0, "mp4", "AI-generated video, made with hia; model tiny/1; seed 3")
    about = (result.num_frames, result.width, result.height, result.fps, result.seed, result.version)
    assert about == (5, 32, 48, 10.0, 3, "tiny/1")
    assert tuple(result.seconds) == PHASES and result.seconds["sampling"] > 0


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(generator):
    one, again, other = (ask(generator, seed=seed).data for seed in (1, 1, 2))
    assert one == again != other


def test_requests_at_the_same_time_do_not_mix(generator):
    alone = [ask(generator, seed=seed).data for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda seed: ask(generator, seed=seed).data, range(4)))
    assert together == alone and len(set(alone)) == 4


def test_size_steps_and_guidance_are_those_asked_for(generator, tmp_path):
    result = ask(generator, width=48, height=64, steps=1, guidance="none")
    assert decoded(result, tmp_path).shape == (5, 64, 48, 3)
    assert result.data != ask(generator, width=48, height=64, steps=2, guidance="none").data


@pytest.mark.parametrize(("width", "height"), [(36, 44), (44, 100), (100, 36), (32, 256)])
def test_whatever_size_the_codec_takes_is_made(generator, tmp_path, width, height):
    assert decoded(ask(generator, width=width, height=height, steps=1), tmp_path).shape == (5, height, width, 3)


def test_another_rate_shows_the_same_motion_in_as_many_seconds(generator, tmp_path):
    result = ask(generator, fps=20, steps=1)
    decoded(result, tmp_path)
    info = probe(tmp_path / "video.mp4")
    assert (info.num_frames, info.fps, result.num_frames) == (9, 20, 9)
    sequence = parse_request(good_row(), {}, LIMITS).driving
    slower = at_rate(sequence, 5.0)
    np.testing.assert_array_equal(slower.keypoints, sequence.keypoints[::2])


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_webp_and_gif_move_for_as_long(generator, kind):
    result = ask(generator, format=kind, steps=1)
    with Image.open(io.BytesIO(result.data)) as image:
        assert (image.format, image.size, image.n_frames) == (kind.upper(), (32, 48), 5)
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            durations.append(image.info["duration"])
    assert sum(durations) == 500
    assert result.data == ask(generator, format=kind, steps=1).data


def test_frames_are_marked_before_they_are_encoded(model):
    class Inverting:
        def embed(self, frame):
            return 255 - frame

    plain, inverted = (
        ask(Generator(model, LIMITS, "tiny/1", no_networks, mark), format="webp") for mark in (None, Inverting())
    )
    one, other = (np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"), int) for result in (plain, inverted))
    assert np.abs(one + other - 255).mean() < 10


def test_callbacks_see_the_motion_and_each_step_as_marked_and_changes_nothing(model):
    class Inverting:
        def embed(self, frame):
            return 255 - frame

    seen, previews, steps = [], {}, []
    request = parse_request(good_row(), {}, LIMITS)
    for mark in (None, Inverting()):
        generator = Generator(model, LIMITS, "tiny/1", no_networks, mark)
        previews[mark] = []
        result = generator.generate(request, RequestContext(60), ProgressCallbacks(seen.append, previews[mark].append))
        assert result.data == generator.generate(request, RequestContext(60)).data
        steps.append([(preview.step, preview.steps) for preview in previews[mark]])
    assert steps == [[(1, 3), (2, 3), (3, 3)]] * 2 and len(seen[0].keypoints) == 5
    for plain, inverted in zip(*previews.values(), strict=True):
        np.testing.assert_array_equal(plain.frame, 255 - inverted.frame)


def test_nothing_stays_in_the_temporary_folder(generator, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ask(generator, steps=1)
    assert not list(tmp_path.iterdir())


def test_keypoints_are_found_in_a_driving_video(seeing):
    frames = [
        draw_person(np.full((160, 120, 3), 128, np.uint8), (40 + 3 * number, 30, 80 + 3 * number, 130))
        for number in range(6)
    ]
    found = seeing._motion.keypoints(parse_request(with_video(video_of(frames)), {}, LIMITS), RequestContext(60))
    assert (len(found), found.width, found.height, found.fps) == (6, 120, 160, 10)
    moved = np.diff(found.keypoints.mean(axis=1)[:, 0])
    np.testing.assert_allclose(moved, 3, atol=1)
    assert ask(seeing, with_video(video_of(frames)), steps=1).num_frames == 6


def test_short_gaps_in_a_driving_motion_are_filled_as_in_preprocessing(generator, seeing):
    arrays = motion(7)
    arrays["scores"][1:3, 91:112] = arrays["scores"][3:6, 112:] = 0  # 0.2 s and 0.3 s of 10 frames per second
    request = parse_request(with_keypoints(npz(arrays)), {}, LIMITS)
    given = generator._motion.keypoints(request, RequestContext(60))
    expected, scores, _ = fill_short_gaps(request.driving.keypoints, request.driving.scores, 10.0)
    np.testing.assert_array_equal(given.keypoints, expected)
    np.testing.assert_array_equal(given.scores, scores)
    assert (given.scores[1:3, 91:112] == 1).all() and (given.scores[3:6, 112:] == 0).all()

    empty = np.full((160, 120, 3), 128, np.uint8)
    frames = [draw_person(empty, (40 + 3 * number, 30, 80 + 3 * number, 130)) for number in range(6)]
    frames[2] = empty
    found = seeing._motion.keypoints(parse_request(with_video(video_of(frames)), {}, LIMITS), RequestContext(60))
    assert (found.scores >= 0.3).all()
    np.testing.assert_allclose(np.diff(found.keypoints.mean(axis=1)[:, 0]), 3, atol=1)


def test_a_video_without_anybody_is_the_clients_mistake(seeing):
    with pytest.raises(RequestError, match="driving_video: nobody"):
        ask(seeing, with_video(video()))


def test_without_networks_a_server_asks_for_keypoints(generator):
    with pytest.raises(RequestError, match="no networks that find keypoints: send them"):
        ask(generator, with_video(video()))


def test_align_uses_the_references_keypoints(generator):
    arrays = motion(1, seed=5) | {"width": 40, "height": 60}
    row = good_row() | {"reference_keypoints": base64_of(npz(arrays))}
    assert ask(generator, row, align=True, steps=1).data != ask(generator, steps=1).data
    with pytest.raises(RequestError, match="reference_keypoints are for 32×48 px, the reference is 40×60 px"):
        ask(generator, row | {"reference_keypoints": base64_of(npz(motion(1)))}, align=True)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 50}, "width 50 is not a multiple of 4"),
        ({"width": 51, "height": 48}, "even for mp4"),
        ({"width": 256, "height": 256}, "at most 16,384 pixels"),
        ({"fps": 120}, "49 frames at that fps; at most 12"),
        ({"width": 128, "height": 128, "steps": 20}, "5 frames of 16,384 pixels in 20 steps are too much"),
    ],
)
def test_what_this_model_cannot_do_is_refused_before_anybody_waits(generator, params, message):
    with generator.queue.turn(RequestContext(60)), pytest.raises(RequestError, match=message):
        ask(generator, **params)


def test_an_answer_that_would_come_too_late_is_not_made(generator):
    with pytest.raises(OutOfTime, match=r"no answer within 0\.01 s"):
        ask(generator, context=RequestContext(0.01))
    assert ask(generator, steps=1).num_frames == 5, "and the next one is answered"


def test_a_request_whose_client_leaves_ends_at_the_next_step(generator):
    context, steps = RequestContext(60), []

    def check() -> None:
        steps.append(1)
        if len(steps) == 4:
            context.cancel()
        RequestContext.check(context)

    context.check = check
    with pytest.raises(OutOfTime, match="the client has gone"):
        ask(generator, context=context, steps=20)
    assert len(steps) == 4


def test_a_failure_gives_the_turn_on(generator, model):
    broken = replace(parse_request(good_row(), {}, LIMITS), reference=None)
    with pytest.raises(AttributeError):
        generator.generate(broken, RequestContext(60))
    assert ask(generator, steps=1).num_frames == 5


def test_keypoints_far_outside_the_picture_give_a_video(generator):
    arrays = motion()
    arrays["keypoints"] = arrays["keypoints"] * 9e5 / arrays["keypoints"].max()
    assert ask(generator, with_keypoints(npz(arrays)), steps=1).num_frames == 5


def test_a_picture_of_one_pixel_gives_a_video(generator):
    row = good_row() | {"reference": base64_of(picture(width=1, height=1))}
    assert ask(generator, row, steps=1).num_frames == 5
