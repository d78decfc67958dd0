"""One request, checked: a row of files as text and some parameters in, values out. Nothing here opens a path or a URL.

The row has the columns

    reference             the person's picture: PNG, JPEG or WebP, in base64
    driving_video         the motion: mp4 or webm, in base64; or, in place of it,
    driving_keypoints     a keypoint file (.npz, `hia.pose.keypoint_files`) in base64, or the same as a JSON text
    reference_keypoints   optional, for `align`: the person's keypoints in the picture, in the same two forms

and every problem is a RequestError that names the column or the parameter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hia.images import Frame
from hia.pose.keypoints import KeypointSequence
from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.uploads import decode_base64, parse_keypoints, parse_picture, strict_json
from hia.serving.video_upload import ClipInMemory, open_clip

Format = Literal["mp4", "webp", "gif"]
Guidance = Literal["none", "reference", "animation"]
COLUMNS = ("reference", "driving_video", "driving_keypoints", "reference_keypoints")
CHOICES: dict[str, tuple[str, ...]] = {"guidance": get_args(Guidance), "format": get_args(Format)}
LARGEST_SEED = 2**63 - 1
SMALLEST_SIDE = 32
RATES = (1, 120)
LAYOUTS = ("dataframe_records", "dataframe_split", "instances", "inputs")


@dataclass(frozen=True, kw_only=True)
class Params:
    """What a request may set; None: the model's own, and for fps the driving motion's.

    sharpness: of the hands, 0..1. align: fit the motion to the reference person's place and limbs.
    """

    seed: int = 0
    steps: int | None = None
    guidance_scale: float | None = None
    guidance: Guidance | None = None
    sharpness: float | None = None
    width: int | None = None
    height: int | None = None
    align: bool = False
    fps: float | None = None
    format: Format = "mp4"


PARAMS = tuple(Params.__dataclass_fields__)


@dataclass(frozen=True, eq=False)
class Request:
    """A request that can be tried: its media decode, as far as they have been looked at."""

    reference: Frame
    driving: KeypointSequence | ClipInMemory
    reference_keypoints: KeypointSequence | None
    params: Params


def parse_request(row: Mapping[str, Any], params: Mapping[str, Any], limits: Limits) -> Request:
    """Check a row (columns that are missing, None or empty are not given) and parameters. Raises RequestError."""
    checked = parse_params(params, limits)
    given = check_row(row)
    picture = parse_picture(decode_base64(given["reference"], "reference", limits.image_bytes), "reference", limits)
    if "driving_video" in given:
        name = "driving_video"
        driving: KeypointSequence | ClipInMemory = open_clip(
            decode_base64(given[name], name, limits.video_bytes), name, limits
        )
    else:
        driving = parse_keypoints(given["driving_keypoints"], "driving_keypoints", limits)
    return Request(picture, driving, _person(given.get("reference_keypoints"), picture, checked, limits), checked)


def parse_params(params: Mapping[str, Any], limits: Limits) -> Params:
    """Check the parameters; None means not given. Raises RequestError naming the first that cannot be."""
    if not isinstance(params, Mapping):
        raise RequestError(f"params must be an object, not {_shown(params)}")
    if unknown := [name for name in params if name not in PARAMS]:
        raise RequestError(f"unknown parameter {_shown(unknown[0])}; known are {', '.join(PARAMS)}")
    checks = _checks(limits)
    return Params(**{name: checks[name](name, value) for name, value in params.items() if value is not None})


def check_row(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns that are given, of which nothing has been decoded. Raises RequestError."""
    for name, value in row.items():
        if name not in COLUMNS:
            raise RequestError(f"unknown column {_shown(name)}; known are {', '.join(COLUMNS)}")
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} must be a text, not {_shown(value)}")
        if value and not value.isascii():
            raise RequestError(f"{name} must be base64 or JSON, in ASCII")
    given = {name: value for name, value in row.items() if value}
    if "reference" not in given:
        raise RequestError("reference is missing: a PNG, JPEG or WebP picture in base64")
    if ("driving_video" in given) == ("driving_keypoints" in given):
        which = "both are given" if "driving_video" in given else "neither is given"
        raise RequestError(f"one of driving_video and driving_keypoints is needed; {which}")
    return given


def _person(text: Any, picture: Frame, params: Params, limits: Limits) -> KeypointSequence | None:
    """The keypoints of the reference. They need `align`, and to be of that picture."""
    if text is None:
        return None
    if not params.align:
        raise RequestError("reference_keypoints are used by align only: set it, or leave them out")
    person = parse_keypoints(text, "reference_keypoints", limits)
    height, width = picture.shape[:2]
    if (person.width, person.height) != (width, height):
        raise RequestError(
            f"reference_keypoints are for {person.width}×{person.height} px, the reference is {width}×{height} px"
        )
    return person


def _checks(limits: Limits) -> dict[str, Any]:
    side = _number(int, SMALLEST_SIDE, limits.output_side)
    return {
        "seed": _number(int, 0, LARGEST_SEED),
        "steps": _number(int, 1, limits.steps),
        "guidance_scale": _number(float, 0, 100),
        "guidance": _choice,
        "sharpness": _number(float, 0, 1),
        "width": side,
        "height": side,
        "align": _truth,
        "fps": _number(float, *RATES),
        "format": _choice,
    }


def _number(kind: type, least: float, most: float) -> Any:
    def check(name: str, value: Any) -> Any:
        fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        if not fits or not least <= value <= most:  # NaN neither
            raise RequestError(
                f"{name} must be a {'whole ' if kind is int else ''}number in {least}..{most}, not {_shown(value)}"
            )
        return kind(value)

    return check


def _choice(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in CHOICES[name]:
        raise RequestError(f"{name} must be {' or '.join(CHOICES[name])}, not {_shown(value)}")
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """A value as a message repeats it: never much of it."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return text if len(text) <= 60 else f"{text[:60]}…"


def check_body(body: bytes, limits: Limits) -> None:
    """Refuse what cannot be a request before anything else reads it. Raises RequestError.

    MLflow itself would answer deep nesting with 500, print the whole body back, take true for 1, and leave out columns
    and parameters that it does not know.
    """
    content = strict_json(body, "the body", limits)
    given = [name for name in LAYOUTS if name in content]
    if len(given) != 1:
        raise RequestError(f"the body needs one of {', '.join(LAYOUTS)}, not {len(given)}")
    if unknown := set(content) - {given[0], "params"}:
        raise RequestError(f"unknown field {min(unknown)[:60]!r} beside {given[0]}; only params is known")
    if content.get("params") is not None:
        parse_params(content["params"], limits)
    check_row(one_row(given[0], content[given[0]]))


def one_row(layout: str, content: Any) -> Mapping[str, Any]:
    """The only row of a table. Raises RequestError."""
    if layout == "inputs" and isinstance(content, dict):
        content = [{name: value[0] if _is_single(value) else value for name, value in content.items()}]
    if layout == "dataframe_split":
        content = _records(content)
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise RequestError(f"{layout} must hold one row, an object of columns: one video is made for a request")
    return content[0]


def _records(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or not set(content) <= {"columns", "data", "index"}:
        raise RequestError("dataframe_split must be an object of columns and data")
    columns, rows = content.get("columns"), content.get("data")
    named = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if not named or not isinstance(rows, list) or not all(_fits(row, columns) for row in rows):
        raise RequestError("dataframe_split needs columns, a list of names, and data, a list of rows as long")
    assert isinstance(columns, list)
    if len(set(columns)) < len(columns):
        raise RequestError("dataframe_split names a column twice")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _fits(row: Any, columns: Any) -> bool:
    return isinstance(row, list) and len(row) == len(columns)


def _is_single(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1
