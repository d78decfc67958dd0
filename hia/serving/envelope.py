"""The body of a request, in any of the four layouts that MLflow's scoring server knows: one row and its parameters."""

from collections.abc import Mapping
from typing import Any

from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.media import strict_json
from hia.serving.schema import check_row, parse_params

LAYOUTS = ("dataframe_records", "dataframe_split", "instances", "inputs")


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
