"""The HTTP deployment, without a cluster: replicas that never answer, fail, or have no room."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from ray.serve.exceptions import BackPressureError
from starlette.requests import Request
from starlette.responses import Response

from hia.serving.errors import RequestError
from hia.serving.schema import RequestFields, parse_body
from orchestration.serving.ingress import Ingress
from tests.serving.example_requests import LIMITS, good_row

BODY = json.dumps({"dataframe_records": [good_row()]}).encode()


class Replicas:
    """A double of the handle of the replicas. answer: makes what `remote` is awaited for."""

    def __init__(self, answer: Any) -> None:
        self._answer, self.seconds, self.cancelled = answer, 0.0, False
        self.answer = self

    def remote(self, fields: RequestFields, seconds: float) -> "Replicas":
        assert fields == parse_body(BODY, LIMITS)
        self.seconds = seconds
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Any:
        return self._answer().__await__()


def request(method: str = "POST", path: str = "/invocations", body: bytes = BODY) -> Request:
    scope = {"type": "http", "method": method, "path": path, "query_string": b""}
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        return parts.pop()

    return Request(scope | {"headers": [(b"content-type", b"application/json")]}, receive)


def answered(replicas: Replicas, asked: Request, **limits: Any) -> Response:
    async def scenario() -> Response:
        return await asyncio.wait_for(Ingress(replicas, replace(LIMITS, **limits), places=1)(asked), 20)

    return asyncio.run(scenario())


async def made() -> bytes:
    return b'{"predictions": []}'


async def never() -> None:
    await asyncio.Event().wait()


async def no_room() -> None:
    raise BackPressureError(num_queued_requests=8, max_queued_requests=8)


async def broken() -> None:
    raise RuntimeError("/secret/path is missing")


async def not_possible() -> RequestError:
    return RequestError("width and height must be even for mp4")


def test_what_a_replica_makes_is_the_answer():
    replicas = Replicas(made)
    response = answered(replicas, request())
    assert (response.status_code, response.body) == (200, b'{"predictions": []}')
    assert 0 < replicas.seconds <= LIMITS.seconds


def test_when_the_time_is_up_the_client_is_told_and_the_replica_too():
    replicas = Replicas(never)
    response = answered(replicas, request(), seconds=1)
    assert response.status_code == 504 and b"no answer within 1 s, waiting included" in response.body
    assert replicas.cancelled


def test_a_client_that_leaves_is_waited_for_no_longer():
    async def scenario() -> Replicas:
        replicas = Replicas(never)
        waiting = asyncio.create_task(Ingress(replicas, LIMITS, places=1)(request()))
        while not replicas.seconds:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        return replicas

    assert asyncio.run(scenario()).cancelled


def test_when_no_replica_has_room_the_client_is_told_when_to_come_again():
    response = answered(Replicas(no_room), request())
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
    assert json.loads(response.body)["error_code"] == "RESOURCE_EXHAUSTED"


def test_all_places_taken_are_told_before_the_body_is_read():
    async def scenario() -> tuple[Response, Response]:
        replicas = Replicas(never)
        ingress = Ingress(replicas, LIMITS, places=1)
        waiting = asyncio.create_task(ingress(request()))
        while not replicas.seconds:
            await asyncio.sleep(0.01)
        answers = await ingress(request(body=b"never read")), await ingress(request("GET", "/ping"))
        waiting.cancel()
        await asyncio.wait([waiting])
        return answers

    refused, ping = asyncio.run(scenario())
    assert (refused.status_code, ping.status_code) == (429, 200)
    assert b"none of 1 places is free: come again later" in refused.body


def test_what_a_replica_refuses_is_told_in_its_words():
    response = answered(Replicas(not_possible), request())
    assert response.status_code == 400
    expected = {"error_code": "INVALID_PARAMETER_VALUE", "message": "width and height must be even for mp4"}
    assert json.loads(response.body) == expected


def test_a_failure_is_told_without_its_details():
    response = answered(Replicas(broken), request())
    assert response.status_code == 500 and b"the server's log says why" in response.body
    assert b"secret" not in response.body


def test_other_addresses_are_not_found():
    for asked in (request("GET"), request("POST", "/ping"), request("GET", "/docs")):
        assert answered(Replicas(made), asked).status_code == 404
