"""Admission control in front of an endpoint, in an application with a middleware like that of MLflow's server."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hia.serving.errors import RequestError
from hia.serving.middleware import AdmissionControl
from hia.serving.queue import CURRENT_REQUEST, RequestContext, RequestQueue
from tests.serving.example_requests import LIMITS, good_row

BODY = json.dumps({"dataframe_records": [good_row()]}).encode()
JSON = {"content-type": "application/json"}


class Exchange:
    """One request to an application: the body, sent part by part, and the response."""

    def __init__(self, application: Any, headers: dict[str, str] = JSON) -> None:
        self.to_send: asyncio.Queue = asyncio.Queue()
        self.answered: list[dict[str, Any]] = []
        self.read = 0
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
        self.task = asyncio.create_task(application(scope, self._receive, self._send))

    def bring(self, part: bytes, more: bool = False) -> "Exchange":
        self.to_send.put_nowait({"type": "http.request", "body": part, "more_body": more})
        return self

    def leave(self) -> None:
        self.to_send.put_nowait({"type": "http.disconnect"})

    async def _receive(self) -> dict[str, Any]:
        part = await self.to_send.get()
        self.read += len(part.get("body", b""))
        return part

    async def _send(self, message: dict[str, Any]) -> None:
        self.answered.append(message)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        await asyncio.wait_for(self.task, 20)
        content = b"".join(message.get("body", b"") for message in self.answered)
        return self.answered[0]["status"], json.loads(content)


def application(endpoint: Callable, queue: RequestQueue | None = None, **limits: Any) -> Starlette:
    async def passing(request: Request, call_next: Callable) -> Response:
        return await call_next(request)

    admission = AdmissionControl(queue or RequestQueue(1), replace(LIMITS, **limits))
    route = Route("/", admission.guard(endpoint), methods=["POST"])
    return Starlette(routes=[route], middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)])


def context() -> RequestContext:
    found = CURRENT_REQUEST.get()
    assert found is not None
    return found


async def count_bytes(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


def until_left(cancelled: list[RequestContext]) -> Callable:
    """An endpoint that computes, in a thread, until its request is cancelled."""

    def compute() -> None:
        try:
            while True:
                context().check()
        except RequestError:
            cancelled.append(context())
            raise

    async def endpoint(request: Request) -> Response:
        await asyncio.to_thread(compute)
        raise AssertionError("nobody left")

    return endpoint


def test_the_endpoint_reads_the_body_that_was_checked():
    async def scenario() -> None:
        exchange = Exchange(application(count_bytes)).bring(BODY[:100], more=True).bring(BODY[100:])
        assert await exchange.answer() == (200, {"bytes": len(BODY)})

    asyncio.run(scenario())


def test_the_endpoint_finds_the_parsed_body_in_the_context():
    async def endpoint(request: Request) -> Response:
        fields = context().fields
        assert fields is not None
        return JSONResponse({"columns": fields.columns, "steps": fields.params.steps})

    async def scenario() -> None:
        body = json.dumps({"dataframe_records": [good_row() | {"driving_video": None}], "params": {"steps": 2}})
        exchange = Exchange(application(endpoint)).bring(body.encode())
        assert await exchange.answer() == (200, {"columns": good_row(), "steps": 2})

    asyncio.run(scenario())


def test_the_error_that_the_endpoint_leaves_in_the_context_is_the_answer():
    async def endpoint(request: Request) -> Response:
        context().error = RequestError("no such thing")
        return JSONResponse({"message": "Failed to predict data '<table>'"}, 400)

    async def scenario() -> None:
        status, content = await Exchange(application(endpoint)).bring(BODY).answer()
        assert (status, content) == (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such thing"})

    asyncio.run(scenario())


def test_work_ends_when_the_client_leaves():
    async def scenario() -> None:
        queue, cancelled = RequestQueue(0), []
        exchange = Exchange(application(until_left(cancelled), queue)).bring(BODY)
        while not queue.full:
            await asyncio.sleep(0.01)
        exchange.leave()
        assert (await exchange.answer())[0] == 504 and len(cancelled) == 1
        assert not queue.full

    asyncio.run(scenario())


def test_when_the_time_is_up_the_client_is_told_and_the_work_ends():
    async def scenario() -> None:
        cancelled: list[RequestContext] = []
        status, content = await Exchange(application(until_left(cancelled), seconds=1)).bring(BODY).answer()
        assert status == 504 and "no answer within 1 s" in content["message"]
        while not cancelled:
            await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_step_that_takes_too_long_does_not_keep_the_client_waiting():
    async def scenario() -> None:
        over = threading.Event()

        async def endpoint(request: Request) -> Response:
            await asyncio.to_thread(over.wait, 20)
            return JSONResponse({})

        try:
            assert (await Exchange(application(endpoint, seconds=1)).bring(BODY).answer())[0] == 504
            assert not over.is_set()
        finally:
            over.set()

    asyncio.run(scenario())


def test_who_finds_the_line_full_is_sent_away_before_bringing_anything():
    async def scenario() -> None:
        queue = RequestQueue(1)
        with queue.admitted(), queue.admitted():
            exchange = Exchange(application(count_bytes, queue))
            status, content = await exchange.answer()
        assert (status, content["error_code"], exchange.read) == (429, "RESOURCE_EXHAUSTED", 0)
        assert (b"retry-after", b"5") in exchange.answered[0]["headers"]
        assert (await Exchange(application(count_bytes, queue)).bring(BODY).answer())[0] == 200

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive_gives_its_place_free():
    async def scenario() -> None:
        queue = RequestQueue(0)
        status, content = (
            await Exchange(application(count_bytes, queue, upload_seconds=1)).bring(b"{", more=True).answer()
        )
        assert (status, content["message"]) == (408, "the body did not arrive within 1 s") and not queue.full

    asyncio.run(scenario())


def test_no_more_of_a_body_is_read_than_is_taken():
    async def scenario() -> None:
        exchange = Exchange(application(count_bytes, request_bytes=1000))
        for _ in range(50):
            exchange.bring(b" " * 300, more=True)
        assert (await exchange.answer())[0] == 413 and exchange.read == 1200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"content-type": "text/csv"}, 415),
        (JSON | {"content-length": "1001"}, 413),
        (JSON | {"content-length": "9" * 5000}, 413),
    ],
)
def test_headers_alone_are_enough_to_refuse(headers, status):
    async def scenario() -> None:
        exchange = Exchange(application(count_bytes, request_bytes=1000), headers)
        assert (await exchange.answer())[0] == status and exchange.read == 0

    asyncio.run(scenario())
