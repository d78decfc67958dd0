"""The requests that a served model accepts, and those that it refuses, with an explanation."""

import json
import random
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.schema import Params, RequestFields, parse_body, parse_params, parse_request
from hia.serving.video_upload import ClipInMemory
from tests.serving import malformed
from tests.serving.example_requests import (
    LIMITS,
    UNPICKLED,
    as_json,
    base64_of,
    good_row,
    motion,
    npz,
    picture,
    video,
    with_keypoints,
    with_reference,
    with_video,
)

ROWS, PARAMS = malformed.rows(), malformed.params()


def body(row, params=None) -> bytes:
    return json.dumps({"dataframe_records": [row], "params": params or {}}).encode()


# ------------------------------------------------------------------------------------------------------------- taken


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_png_jpeg_and_webp_are_taken(kind):
    assert parse_request(with_reference(picture(kind)), {}, LIMITS).reference.shape == (60, 40, 3)


def test_a_picture_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert parse_request(with_reference(picture("JPEG", exif=exif)), {}, LIMITS).reference.shape == (40, 60, 3)


def test_keypoints_are_the_same_as_npz_and_as_json():
    one, other = (parse_request(with_keypoints(form(motion())), {}, LIMITS).driving for form in (npz, as_json))
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert (one.width, one.height, one.fps, len(one)) == (other.width, other.height, other.fps, 5)


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9")])
def test_mp4_and_webm_are_decoded_from_memory(kind, codec):
    clip = parse_request(with_video(video(kind=kind, codec=codec)), {}, LIMITS).driving
    assert isinstance(clip, ClipInMemory) and (clip.width, clip.height, clip.fps) == (64, 96, 10)
    for _ in range(2):
        assert [frame.shape for frame in clip] == [(96, 64, 3)] * 6


def test_parameters_that_are_not_given_or_null_are_the_models_own():
    assert parse_params({"steps": None, "align": None}, LIMITS) == Params()


def test_all_parameters_are_taken():
    given = {
        **{"seed": 7, "steps": 3, "guidance_scale": 2, "guidance": "reference", "sharpness": 0, "width": 64},
        **{"height": 96, "align": True, "fps": 12.5, "format": "webp"},
    }
    assert vars(parse_params(given, LIMITS)) == given


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": [good_row()]},
        {"dataframe_split": {"columns": list(good_row()), "data": [list(good_row().values())]}, "params": {"seed": 1}},
        {"instances": [good_row()], "params": None},
        {"inputs": good_row()},
        {"inputs": {name: [value] for name, value in good_row().items()}},
    ],
)
def test_every_layout_of_mlflow_may_hold_the_row(content):
    params = Params(**content.get("params") or {})
    assert parse_body(json.dumps(content).encode(), LIMITS) == RequestFields(good_row(), params)


# ----------------------------------------------------------------------------------------------------------- refused


def test_the_tables_hold_many_cases():
    assert len(ROWS) >= 85 and len(PARAMS) >= 55


@pytest.mark.parametrize("case", ROWS)
def test_a_malformed_row_is_refused(case):
    row, message = ROWS[case]
    with pytest.raises(RequestError) as refused:
        parse_request(row, {}, LIMITS)
    assert message in str(refused.value) and len(str(refused.value)) < 600
    assert "0x" not in str(refused.value), "no addresses"


@pytest.mark.parametrize("case", PARAMS)
def test_malformed_parameters_are_refused(case):
    params, message = PARAMS[case]
    with pytest.raises(RequestError) as refused:
        parse_request(good_row(), params, LIMITS)
    assert message in str(refused.value) and len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"null", "must be a JSON object"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"{}", "not 0"),
        (b'{"dataframe_records": []}', "one row"),
        (b'{"dataframe_records": 5}', "one row"),
        (b'{"dataframe_records": [5]}', "one row"),
        (b'{"dataframe_records": [{}, {}]}', "one row"),
        (b'{"instances": {"reference": "x"}}', "one row"),
        (b'{"inputs": [], "instances": []}', "not 2"),
        (b'{"inputs": {}, "parameters": {}}', "unknown field 'parameters'"),
        (b'{"inputs": {"reference": ["a", "b"]}}', "must be a text, not a list of 2"),
        (b'{"dataframe_split": [1]}', "columns and data"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "rows as long"),
        (b'{"dataframe_split": {"columns": [1], "data": [[1]]}}', "list of names"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": [["", ""]]}}', "twice"),
        (b'{"dataframe_records": [{}], "params": {"fps": NaN}}', "NaN is no JSON number"),
        (b'{"dataframe_records": [{}], "params": {"fps": 1e999}}', "fps must be a number"),
        (b'{"dataframe_records": [{}], "params": [1]}', "params must be an object"),
        (b"[" * 5000, "nested too deeply"),
        (b'{"a":' * 5000, "nested too deeply"),
        (b"[" * 500_000, "more than 7,504 values"),
        (b'{"dataframe_records": [' + b"{}," * 500_000 + b"{}]}", "more than 7,504 values"),
        (b"1" * 100_000, "no JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        parse_body(text, LIMITS)


def test_no_bomb_is_unpacked():
    bombs = [ROWS[case][0] for case in ROWS if "bomb" in case or "megapixels" in case or "claims" in case]
    assert len(bombs) == 4
    tracemalloc.start()
    for row in bombs:
        with pytest.raises(RequestError):
            parse_request(row, {}, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_nothing_was_unpickled():
    with pytest.raises(RequestError):
        parse_request(ROWS["pickle"][0], {}, LIMITS)
    assert not UNPICKLED.exists()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_bytes_come_a_request_is_parsed_or_refused(seed):
    """Valid requests, damaged at random: bytes changed, cut out, doubled, in the body and in the files in it."""
    source = random.Random(seed)
    files = [
        picture("PNG"),
        picture("JPEG"),
        picture("WEBP"),
        npz(motion()),
        video(3),
        video(3, kind="webm", codec="libvpx"),
    ]
    outcomes = set()
    for _ in range(60):
        row = [with_reference(_fuzzed(source.choice(files[:3]), source))]
        row += [with_keypoints(_fuzzed(files[3], source)), with_video(_fuzzed(source.choice(files[4:]), source))]
        row += [with_keypoints(_fuzzed(as_json(motion(2)).encode(), source).decode("utf-8", "replace"))]
        chosen = source.choice(row)
        outcomes |= {_outcome(parse_request, chosen, {}), _outcome(parse_body, _fuzzed(body(chosen), source))}
    assert outcomes == {"taken", "refused"}


def _outcome(parse, *given) -> str:
    try:
        parse(*given, LIMITS)
    except RequestError:
        return "refused"
    return "taken"


def _fuzzed(data: bytes, source: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(source.choice([0, 1, 1, 3, 10])):
        place = source.randrange(max(len(damaged), 1))
        kind = source.choice(["byte", "cut", "double", "insert", "end"])
        if kind == "byte" and damaged:
            damaged[place % len(damaged)] = source.randrange(256)
        elif kind == "cut":
            del damaged[place : place + source.randrange(1, 50)]
        elif kind == "double":
            damaged[place:place] = damaged[place : place + 100]
        elif kind == "insert":
            damaged[place:place] = source.choice([b"\0" * 4, b"\xff" * 4, b"NaN", b"-1", b'"', b"[", b"{", b"1e999"])
        elif kind == "end" and source.random() < 0.3:
            del damaged[place:]
    return bytes(damaged)


# ------------------------------------------------------------------------------------------------------------ limits


def test_limits_are_recorded_and_the_environment_goes_first():
    limits = Limits.of({"frames": 10, "steps": 5}, {"HIA_LIMIT_STEPS": "7", "HIA_LIMIT_SECONDS": "1.5", "HOME": "/"})
    assert (limits.frames, limits.steps, limits.seconds) == (10, 7, 1.5)


@pytest.mark.parametrize(
    ("recorded", "environment", "message"),
    [
        ({"frame": 10}, {}, "unknown limit frame"),
        ({}, {"HIA_LIMIT_COLOUR": "3"}, "unknown limit colour"),
        ({}, {"HIA_LIMIT_STEPS": "many"}, "HIA_LIMIT_STEPS must be a number, not 'many'"),
        ({}, {"HIA_LIMIT_STEPS": "0"}, "limit steps must be a whole number of at least 1, not 0"),
        ({}, {"HIA_LIMIT_STEPS": "2.5"}, "limit steps must be a whole number"),
        ({}, {"HIA_LIMIT_SECONDS": "nan"}, "limit seconds must be a number of at least 1, not nan"),
        ({"waiting": True}, {}, "limit waiting must be a whole number of at least 0, not True"),
    ],
)
def test_limits_that_cannot_be_are_refused(recorded, environment, message):
    with pytest.raises(ValueError, match=message):
        Limits.of(recorded, environment)


def test_a_line_may_be_of_length_0():
    assert Limits(waiting=0).waiting == 0


def test_base64_is_strict_and_whole():
    assert parse_request(good_row() | {"reference": base64_of(picture())}, {}, LIMITS).reference.any()
