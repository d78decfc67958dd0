"""Checks for every HTTP server of the model: invalid bodies and parameters are refused."""

import json
from collections.abc import Callable
from typing import Any

from tests.serving import malformed
from tests.serving.example_requests import good_row

Post = Callable[..., Any]
MEGABYTE = 1 << 20

BODIES: dict[str, tuple[bytes, str | None, int]] = {
    "empty": (b"", "application/json", 400),
    "nested lists": (b"[" * 5000, "application/json", 400),
    "nested objects": (b'{"a":' * 5000, "application/json", 400),
    "not UTF-8": (b"\xff\xfe", "application/json", 400),
    "another encoding": (b"{}", "application/json; charset=utf-16", 400),
    "large": (b"{" + b" " * (5 * MEGABYTE) + b"}", "application/json", 413),
    "no type": (b"{}", None, 415),
    "text": (b"{}", "text/plain", 415),
    "CSV": (b"reference,driving_keypoints\na,b\n", "text/csv", 415),
    "Parquet": (b"PAR1", "application/vnd.apache.parquet", 415),
}
"""Bodies that are no requests, with their content type and the status of the response."""


def check_body_is_refused(post: Post, case: str) -> None:
    """Post one of `BODIES`."""
    body, kind, status = BODIES[case]
    response = post(data=body, headers={"Content-Type": kind} if kind else {})
    assert response.status_code == status and response.json()["message"]


def check_params_are_refused(post: Post, case: str) -> None:
    """Post a good row with some of the malformed parameters; NaN and the like are not JSON at all."""
    params, message = malformed.params()[case]
    body = json.dumps({"dataframe_records": [good_row()], "params": params})
    response = post(data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    text = response.json()["message"]
    assert message in text or "is no JSON number" in text
