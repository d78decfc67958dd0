"""The limits of a served model: sizes of requests and results, length of the queue, time."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

PREFIX = "HIA_LIMIT_"
AtLeastOne = Annotated[float, Field(ge=1)]


@dataclass(config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), frozen=True, kw_only=True)
class Limits:
    """Bounds of a served model. Recorded with the model; `$HIA_LIMIT_<FIELD>` of the server's environment goes first.

    request_bytes: of the whole request. image_bytes, video_bytes, keypoint_bytes: of the decoded files; of an .npz also
    unpacked. image_pixels, video_pixels: of a picture, a driving frame. output_side, output_pixels: of a frame that is
    made. frames: of the driving motion and of the result; driving_seconds: of a driving video. work: frames · output
    pixels · steps. waiting: requests that may wait while one is computed. seconds: from a request's arrival to its
    answer; upload_seconds: for its body. Raises ValueError unless all are at least 1 (waiting: 0).
    """

    request_bytes: PositiveInt = 64 << 20
    image_bytes: PositiveInt = 16 << 20
    video_bytes: PositiveInt = 32 << 20
    keypoint_bytes: PositiveInt = 16 << 20
    image_pixels: PositiveInt = 40_000_000
    video_pixels: PositiveInt = 1920 * 1920
    output_side: PositiveInt = 2048
    output_pixels: PositiveInt = 1024 * 1024
    frames: PositiveInt = 600
    driving_seconds: AtLeastOne = 60.0
    steps: PositiveInt = 100
    work: AtLeastOne = 1e10
    waiting: NonNegativeInt = 4
    seconds: AtLeastOne = 600.0
    upload_seconds: AtLeastOne = 60.0

    @classmethod
    def of(cls, recorded: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> "Limits":
        """The limits recorded with a model, changed by the environment (default: the process's).

        Raises ValueError naming a limit that is unknown or out of range.
        """
        values = dict(recorded or {})
        for variable, text in (os.environ if environment is None else environment).items():
            if variable.startswith(PREFIX):
                values[variable.removeprefix(PREFIX).lower()] = _number(variable, text)
        defaults = {field.name: getattr(cls, field.name) for field in fields(cls)}
        if unknown := sorted(set(values) - set(defaults)):
            raise ValueError(f"unknown limit {unknown[0]}; known are {', '.join(defaults)}")
        try:
            return cls(**values)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0])
            kind = "whole number" if isinstance(defaults[name], int) else "number"
            least = 0 if name == "waiting" else 1
            raise ValueError(f"limit {name} must be a {kind} of at least {least}, not {values[name]!r}") from None


def _number(variable: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError(f"{variable} must be a number, not {text!r}")
