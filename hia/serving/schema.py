"""The schema of a request: one row of files as text, and parameters. No path and no URL in it is ever opened.

The row has the columns

    reference             the person's picture: PNG, JPEG or WebP, in base64
    driving_video         the motion: mp4 or webm, in base64; or, in place of it,
    driving_keypoints     a keypoint file (.npz, `hia.pose.keypoint_files`) in base64, or the same as a JSON text
    reference_keypoints   optional, for `align`: the person's keypoints in the picture, in the same two forms

A request is checked in two steps: `parse_body` and `parse_fields` check columns and parameters, `decode_request` the
media. Every problem is a RequestError that names the column or the parameter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from hia.images import Frame
from hia.pose.keypoints import KeypointSequence
from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.uploads import decode_base64, parse_json, parse_keypoints, parse_picture
from hia.serving.video_upload import ClipInMemory, open_clip

COLUMNS = ("reference", "driving_video", "driving_keypoints", "reference_keypoints")
LAYOUTS = ("dataframe_records", "dataframe_split", "instances", "inputs")
"""MLflow's names for the layouts that a body may have its row in."""

Side = Annotated[int, Field(ge=32)]


@checked_dataclass(config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), frozen=True, kw_only=True)
class Params:
    """The parameters of a request. None: the model's own value, and for fps that of the driving motion.

    width, height: of the output, px. sharpness: of the hands, 0..1. align: fit the motion to the reference person's
    place and limbs. Server limits, too, bound steps, width and height: see `parse_fields`.
    """

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    steps: Annotated[int, Field(ge=1)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    guidance: Literal["none", "reference", "animation"] | None = None
    sharpness: Annotated[float, Field(ge=0, le=1)] | None = None
    width: Side | None = None
    height: Side | None = None
    align: bool = False
    fps: Annotated[float, Field(ge=1, le=120)] | None = None
    format: Literal["mp4", "webp", "gif"] = "mp4"


PARAMS = tuple(Params.__dataclass_fields__)
JSON_SCHEMA: dict[str, Any] = TypeAdapter(Params).json_schema()["properties"]
LIMITED_BY = {"steps": "steps", "width": "output_side", "height": "output_side"}
"""The limit that bounds a parameter from above."""


@dataclass(frozen=True)
class RequestFields:
    """The columns and parameters of a request, checked; the media in the columns are not decoded yet."""

    columns: Mapping[str, str]
    params: Params


@dataclass(frozen=True, eq=False)
class Request:
    """A request that can be tried: its media are decoded, except that a driving video's frames are decoded on use."""

    reference: Frame
    driving: KeypointSequence | ClipInMemory
    reference_keypoints: KeypointSequence | None
    params: Params


# ------------------------------------------------------------------------------------------------------- whole requests


def parse_body(body: bytes, limits: Limits) -> RequestFields:
    """Parse an HTTP body, before anything else reads it. Raises RequestError.

    MLflow itself would answer deep nesting with 500, print the whole body back, take true for 1, and leave out columns
    and parameters that it does not know.
    """
    content = parse_json(body, "the body", limits)
    layouts = [name for name in LAYOUTS if name in content]
    if len(layouts) != 1:
        raise RequestError(f"the body needs one of {', '.join(LAYOUTS)}, not {len(layouts)}")
    (layout,) = layouts
    if unknown := set(content) - {layout, "params"}:
        raise RequestError(f"unknown field {min(unknown)[:60]!r} beside {layout}; only params is known")
    params = content.get("params")
    checked = parse_params({} if params is None else params, limits)
    return RequestFields(_check_columns(_only_row(layout, content[layout])), checked)


def parse_fields(row: Mapping[str, Any], params: Mapping[str, Any], limits: Limits) -> RequestFields:
    """Check a row (columns that are missing, None or empty are not given) and parameters. Raises RequestError."""
    checked = parse_params(params, limits)
    return RequestFields(_check_columns(row), checked)


def decode_request(fields: RequestFields, limits: Limits) -> Request:
    """Decode the media of a request. Raises RequestError."""
    columns, params = fields.columns, fields.params
    name = "reference"
    picture = parse_picture(decode_base64(columns[name], name, limits.image_bytes), name, limits)
    driving: KeypointSequence | ClipInMemory
    if (name := "driving_video") in columns:
        driving = open_clip(decode_base64(columns[name], name, limits.video_bytes), name, limits)
    else:
        driving = parse_keypoints(columns["driving_keypoints"], "driving_keypoints", limits)
    person = _decode_person(columns.get("reference_keypoints"), picture, params, limits)
    return Request(picture, driving, person, params)


def parse_request(row: Mapping[str, Any], params: Mapping[str, Any], limits: Limits) -> Request:
    """Check and decode a request. Raises RequestError."""
    return decode_request(parse_fields(row, params, limits), limits)


def _decode_person(text: str | None, picture: Frame, params: Params, limits: Limits) -> KeypointSequence | None:
    """The keypoints of the reference, which are for `align` only and must be of that picture."""
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


# ----------------------------------------------------------------------------------------------------------- parameters


def parse_params(params: Mapping[str, Any], limits: Limits) -> Params:
    """The parameters; None means not given. Raises RequestError naming the first invalid one."""
    if not isinstance(params, Mapping):
        raise RequestError(f"params must be an object, not {_shorten(params)}")
    if unknown := [name for name in params if name not in PARAMS]:
        raise RequestError(f"unknown parameter {_shorten(unknown[0])}; known are {', '.join(PARAMS)}")
    values = {name: value for name, value in params.items() if value is not None}
    try:
        checked = Params(**values)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise _invalid(name, values[name], limits) from None
    for name, limit in LIMITED_BY.items():
        if name in values and values[name] > getattr(limits, limit):
            raise _invalid(name, values[name], limits)
    return checked


def _invalid(name: str, value: Any, limits: Limits) -> RequestError:
    """An error that says what is allowed, in place of pydantic's, which says less."""
    schema = JSON_SCHEMA[name]
    schema = schema.get("anyOf", [schema])[0]
    if "enum" in schema:
        allowed = " or ".join(schema["enum"])
    elif schema["type"] == "boolean":
        allowed = "true or false"
    else:
        most = getattr(limits, LIMITED_BY[name]) if name in LIMITED_BY else schema["maximum"]
        allowed = f"a {'whole ' if schema['type'] == 'integer' else ''}number in {schema['minimum']}..{most}"
    return RequestError(f"{name} must be {allowed}, not {_shorten(value)}")


def _shorten(value: Any) -> str:
    """A value for a message: at most some 60 characters of it."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return text if len(text) <= 60 else f"{text[:60]}…"


# ------------------------------------------------------------------------------------------------------------- the row


def _check_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns that are given. Raises RequestError."""
    for name, value in row.items():
        if name not in COLUMNS:
            raise RequestError(f"unknown column {_shorten(name)}; known are {', '.join(COLUMNS)}")
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} must be a text, not {_shorten(value)}")
        if value and not value.isascii():
            raise RequestError(f"{name} must be base64 or JSON, in ASCII")
    columns = {name: value for name, value in row.items() if value}
    if "reference" not in columns:
        raise RequestError("reference is missing: a PNG, JPEG or WebP picture in base64")
    if ("driving_video" in columns) == ("driving_keypoints" in columns):
        which = "both are given" if "driving_video" in columns else "neither is given"
        raise RequestError(f"one of driving_video and driving_keypoints is needed; {which}")
    return columns


def _only_row(layout: str, content: Any) -> Mapping[str, Any]:
    """The only row of a table. Raises RequestError."""
    if layout == "inputs" and isinstance(content, dict):
        content = [{name: value[0] if _is_single(value) else value for name, value in content.items()}]
    if layout == "dataframe_split":
        content = _split_rows(content)
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise RequestError(f"{layout} must hold one row, an object of columns: one video is made for a request")
    return content[0]


def _split_rows(content: Any) -> list[dict[str, Any]]:
    """The rows of pandas' layout `split`: names of columns, and a list of values per row."""
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
