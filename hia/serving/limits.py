"""How much one request may ask for, and how many may wait."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "HIA_LIMIT_"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a served model. Recorded with the model; `$HIA_LIMIT_<FIELD>` of the server's environment goes first.

    request_bytes: of the whole request. image_bytes, video_bytes, keypoint_bytes: of the decoded files; of an .npz also
    unpacked. image_pixels, video_pixels: of a picture, a driving frame. output_side, output_pixels: of a frame that is
    made. frames: of the driving motion and of the result; driving_seconds: of a driving video. work: frames · output
    pixels · steps. waiting: requests that may wait while one is computed. seconds: from a request's arrival to its
    answer; upload_seconds: for its body. Raises ValueError unless all are positive numbers (waiting may be 0).
    """

    request_bytes: int = 64 << 20
    image_bytes: int = 16 << 20
    video_bytes: int = 32 << 20
    keypoint_bytes: int = 16 << 20
    image_pixels: int = 40_000_000
    video_pixels: int = 1920 * 1920
    output_side: int = 2048
    output_pixels: int = 1024 * 1024
    frames: int = 600
    driving_seconds: float = 60.0
    steps: int = 100
    work: float = 1e10
    waiting: int = 4
    seconds: float = 600.0
    upload_seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "waiting" else 1
            whole = isinstance(field.default, int)
            if type(value) not in ((int,) if whole else (int, float)) or not math.isfinite(value) or value < least:
                raise ValueError(
                    f"limit {field.name} must be a {'whole ' if whole else ''}number of at least {least}, not {value!r}"
                )

    @classmethod
    def of(cls, recorded: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> "Limits":
        """The limits recorded with a model, changed by the environment (default: the process's).

        Raises ValueError naming a limit that is unknown or cannot be.
        """
        values = dict(recorded or {})
        known = {field.name: type(field.default) for field in fields(cls)}
        for variable, text in (os.environ if environment is None else environment).items():
            if variable.startswith(PREFIX):
                values[variable.removeprefix(PREFIX).lower()] = _number(variable, text)
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown limit {unknown[0]}; known are {', '.join(known)}")
        return cls(**values)


def _number(variable: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError(f"{variable} must be a number, not {text!r}")
