"""Invalid rows and parameters, each with a part of the error message that the client receives."""

from typing import Any

import numpy as np

from tests.serving.example_requests import (
    LIMITS,
    Row,
    as_json,
    base64_of,
    changed,
    concat_script,
    disguised,
    good_row,
    many_members,
    motion,
    npz,
    npz_that_claims,
    pickled,
    picture,
    playlist,
    png_bomb,
    spoilt,
    video,
    with_keypoints,
    with_reference,
    with_video,
    without,
    zip_bomb,
)

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def rows() -> dict[str, tuple[Row, str]]:
    """Invalid rows, by their fault."""
    return _columns() | _pictures() | _keypoint_files() | _keypoint_json() | _videos()


def _columns() -> dict[str, tuple[Row, str]]:
    good = good_row()
    only_motion = {"driving_keypoints": good["driving_keypoints"]}
    return {
        "nothing": ({}, "reference is missing"),
        "no reference": (only_motion, "reference is missing"),
        "reference null": (good | {"reference": None}, "reference is missing"),
        "reference empty": (good | {"reference": ""}, "reference is missing"),
        "no motion": ({"reference": good["reference"]}, "neither is given"),
        "two motions": (good | {"driving_video": base64_of(video())}, "both are given"),
        "unknown column": (good | {"refrence": "x"}, "unknown column 'refrence'"),
        "column with a long name": (good | {"x" * 5000: "x"}, "unknown column"),
        "a number": (good | {"reference": 5}, "reference must be a text, not 5"),
        "a truth value": (good | {"reference": True}, "reference must be a text"),
        "a list": (good | {"reference": [1, 2]}, "reference must be a text, not a list of 2"),
        "an object": (good | {"driving_keypoints": {"frames": 1}}, "must be a text, not an object of 1"),
        "a path": (good | {"reference": "/etc/passwd"}, "reference: "),
        "a file URL": (good | {"reference": "file:///etc/passwd"}, "no base64"),
        "a URL": (good | {"driving_keypoints": "http://localhost/motion.npz"}, "no base64"),
        "a data URL": (good | {"reference": f"data:image/png;base64,{good['reference']}"}, "no data: prefix"),
        "base64 with line breaks": (good | {"reference": good["reference"][:76] + "\n"}, "no base64"),
        "base64 cut off": (good | {"reference": good["reference"][:-3]}, "no base64"),
        "base64 for URLs": (good | {"reference": "-_-_"}, "no base64"),
        "letters of another script": (good | {"reference": "дом="}, "in ASCII"),
        "half a surrogate pair": (good | {"reference": "\ud800"}, "in ASCII"),
        "only padding": (good | {"reference": "===="}, "reference: "),
        "more bytes than taken": (good | {"reference": "A" * 2 * LIMITS.image_bytes}, "more than 200,000 bytes"),
        "person's keypoints without align": (
            good | {"reference_keypoints": good["driving_keypoints"]},
            "used by align only",
        ),
    }


def _pictures() -> dict[str, tuple[Row, str]]:
    return {
        "picture of text": (with_reference(b"not a picture"), "not a readable image"),
        "picture cut off": (with_reference(picture()[:-200]), "not a readable image"),
        "jpeg cut off": (with_reference(picture("JPEG")[:300]), "not a readable image"),
        "webp cut off": (with_reference(picture("WEBP")[:-20]), "not a readable image"),
        "picture damaged": (with_reference(_damaged(picture(), 60)), "not a readable image"),
        "png of 400 megapixels": (with_reference(png_bomb()), "reference"),
        "png above the limit": (with_reference(png_bomb(600, 600)), "600×600 pixels, more than 300,000"),
        "png of no width": (with_reference(png_bomb(0, 60)), "not a readable image"),
        "gif": (with_reference(picture("GIF")), "PNG, JPEG and WebP are taken"),
        "tiff": (with_reference(picture("TIFF")), "PNG, JPEG and WebP are taken"),
        "bmp": (with_reference(picture("BMP")), "PNG, JPEG and WebP are taken"),
        "svg": (with_reference(SVG), "not a readable image"),
        "eps": (with_reference(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not a readable image"),
        "a video as picture": (with_reference(video()), "not a readable image"),
    }


def _keypoint_files() -> dict[str, tuple[Row, str]]:
    frames = LIMITS.frames + 1
    return {
        "keypoints of text": (with_keypoints(b"not an archive"), "no keypoint file"),
        "archive cut off": (with_keypoints(npz(motion())[:-40]), "no keypoint file"),
        "archive damaged": (with_keypoints(_damaged(npz(motion()), 120)), "driving_keypoints"),
        "archive of nothing": (with_keypoints(many_members(0)), "lacks"),
        "zip bomb": (with_keypoints(zip_bomb()), "bytes unpacked"),
        "five hundred arrays": (with_keypoints(many_members()), "more than 64 arrays"),
        "header that claims a terabyte": (
            with_keypoints(npz_that_claims((10**9, 133, 2))),
            "of the size that it states",
        ),
        "header that claims more than a number holds": (with_keypoints(npz_that_claims((2**62, 2**62))), "no keypoint"),
        "pickle": (with_keypoints(pickled()), "no keypoint file"),
        "scores missing": (with_keypoints(npz(without("scores"))), "lacks scores"),
        "NaN": (with_keypoints(npz(spoilt((1, 2, 0), np.nan))), "must be finite: frame 1, keypoint 2"),
        "infinity": (with_keypoints(npz(spoilt((1, 2, 0), np.inf))), "must be finite"),
        "beyond any picture": (with_keypoints(npz(spoilt((1, 2, 0), 1e30))), "beyond any picture"),
        "score of infinity": (with_keypoints(npz(spoilt((0, 0), -np.inf, "scores"))), "must be finite"),
        "other layout": (with_keypoints(npz(changed(keypoints=np.zeros((5, 17, 2))))), "[frames, 133, 2]"),
        "no frames": (
            with_keypoints(npz(changed(keypoints=np.zeros((0, 133, 2)), scores=np.zeros((0, 133))))),
            "no frames",
        ),
        "too many frames": (with_keypoints(npz(motion(frames))), f"at most {LIMITS.frames} are taken"),
        "texts": (with_keypoints(npz(changed(keypoints=np.full((5, 133, 2), "1")))), "array of numbers"),
        "complex numbers": (with_keypoints(npz(changed(scores=np.ones((5, 133), complex)))), "array of numbers"),
        "negative width": (with_keypoints(npz(changed(width=-32))), "width must be a positive"),
        "huge width": (with_keypoints(npz(changed(width=10**9))), "sides are at most"),
        "fps of 0": (with_keypoints(npz(changed(fps=0.0))), "fps must be a positive"),
        "fps of a billion": (with_keypoints(npz(changed(fps=1e9))), "fps must lie in"),
        "fps of NaN": (with_keypoints(npz(changed(fps=np.nan))), "fps must be a positive"),
    }


def _keypoint_json() -> dict[str, tuple[Row, str]]:
    text = as_json(motion())
    number = text[text.index("[[[") + 3 : text.index(",")]
    return {
        "JSON cut off": (with_keypoints(text[:-9]), "no JSON"),
        "JSON list": (with_keypoints(f"[{text}]"), "no base64"),
        "JSON with NaN": (with_keypoints(text.replace(number, "NaN", 1)), "NaN is no JSON number"),
        "JSON with infinity": (with_keypoints(text.replace(number, "-Infinity", 1)), "-Infinity is no JSON number"),
        "JSON with 1e999": (with_keypoints(text.replace(number, "1e999", 1)), "must be finite"),
        "JSON with a truth value": (with_keypoints(text.replace(number, "true", 1)), "must be numbers"),
        "JSON with only truth values": (with_keypoints(text.replace(" 1.0", " true")), "must be numbers"),
        "JSON with a text": (with_keypoints(text.replace(number, '"1"', 1)), "must be numbers"),
        "JSON with null": (with_keypoints(text.replace(number, "null", 1)), "must be numbers"),
        "JSON with a longer frame": (with_keypoints(text.replace("[[[", "[[[1,2],[", 1)), "driving_keypoints"),
        "JSON with width as text": (with_keypoints(text.replace('"width": 32', '"width": "32"')), "must be numbers"),
        "JSON with width true": (with_keypoints(text.replace('"width": 32', '"width": true')), "must be numbers"),
        "JSON nested deeply": (with_keypoints('{"keypoints":' * 5000), "nested too deeply"),
        "JSON with 5000 digits": (with_keypoints(text.replace(number, "1" * 5000, 1)), "no JSON"),
        "JSON with another field": (with_keypoints(as_json(changed(person=1))), "and nothing else"),
        "JSON with 60000 lists": (with_keypoints('{"keypoints": [' + "[]," * 60_000 + "[]]}"), "more than"),
        "JSON larger than taken": (with_keypoints("{" + " " * 250_000 + "}"), "more than 200,000 bytes"),
    }


def _videos() -> dict[str, tuple[Row, str]]:
    frames = LIMITS.frames
    return {
        "video of text": (with_video(b"not a video"), "neither mp4 nor webm"),
        "avi": (with_video(video(kind="avi")), "neither mp4 nor webm"),
        "matroska that is no webm": (with_video(video(kind="matroska")), "neither mp4 nor webm"),
        "playlist": (with_video(playlist()), "neither mp4 nor webm"),
        "playlist that begins as mp4": (with_video(disguised(playlist())), "not a readable video"),
        "script that begins as mp4": (with_video(disguised(concat_script())), "not a readable video"),
        "video cut off": (with_video(video()[:2000]), "driving_video"),
        "video without frames": (with_video(disguised(b"")), "driving_video"),
        "frames larger than taken": (with_video(video(width=320, height=240)), "more than 40,000"),
        "more frames than taken": (with_video(video(frames + 1)), f"longer than {frames} frames"),
        "codec that is not taken": (with_video(video(codec="mjpeg", kind="mp4")), "its codec mjpeg is not taken"),
        "a picture as video": (with_video(picture()), "neither mp4 nor webm"),
    }


def params() -> dict[str, tuple[Any, str]]:
    """Invalid parameters, by their fault."""
    number = {"nan": float("nan"), "infinity": float("inf"), "list": [1], "object": {"a": 1}, "text": "3", "true": True}
    wrong = {
        f"{name} {kind}": ({name: value}, f"{name} must be a")
        for name in ("seed", "steps", "guidance_scale", "sharpness", "width", "fps")
        for kind, value in number.items()
    }
    return wrong | {
        "a list": ([1], "params must be an object"),
        "a text": ("seed=1", "params must be an object"),
        "unknown": ({"sead": 1}, "unknown parameter 'sead'"),
        "negative seed": ({"seed": -1}, "seed must be a whole number in 0.."),
        "seed of 65 bits": ({"seed": 2**64}, "seed must be a whole number in 0.."),
        "seed of 400 digits": ({"seed": 10**400}, "a number of more than 30 digits"),
        "half a step": ({"steps": 2.5}, "steps must be a whole number"),
        "no steps": ({"steps": 0}, "steps must be a whole number in 1..20, not 0"),
        "too many steps": ({"steps": 21}, "steps must be a whole number in 1..20, not 21"),
        "unknown guidance": ({"guidance": "full"}, "guidance must be none or reference or animation, not 'full'"),
        "guidance as number": ({"guidance": 1}, "guidance must be none"),
        "negative guidance": ({"guidance_scale": -0.1}, "guidance_scale must be a number in 0.."),
        "sharpness above 1": ({"sharpness": 1.01}, "sharpness must be a number in 0..1"),
        "tiny width": ({"width": 8}, "width must be a whole number in 32.."),
        "huge height": ({"height": 100_000}, "height must be a whole number in 32..256"),
        "align as number": ({"align": 1}, "align must be true or false"),
        "align as text": ({"align": "yes"}, "align must be true or false"),
        "fps of 0": ({"fps": 0}, "fps must be a number in 1..120"),
        "fps of 1000": ({"fps": 1000}, "fps must be a number in 1..120"),
        "unknown format": ({"format": "avi"}, "format must be mp4 or webp or gif, not 'avi'"),
        "format as a path": ({"format": "../../mp4"}, "format must be mp4"),
    }


def _damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes(255 - byte for byte in data[place : place + 40]) + data[place + 40 :]
