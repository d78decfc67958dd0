"""The door of an HTTP server: who is let in, how much they may bring, and what they are told when it goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hia.serving.errors import Busy, RequestError, SlowUpload, TooLarge, WrongType
from hia.serving.limits import Limits
from hia.serving.queue import CURRENT_DEADLINE, RequestDeadline, RequestQueue
from hia.serving.schema import check_body

Endpoint = Callable[..., Awaitable[Response]]

NAMES = {400: "INVALID_PARAMETER_VALUE", 413: "TOO_LARGE", 415: "WRONG_TYPE", 408: "SLOW_UPLOAD"}
NAMES |= {429: "RESOURCE_EXHAUSTED", 504: "DEADLINE_EXCEEDED"}
RETRY_AFTER = 5


class AdmissionControl:
    """Lets requests through to an endpoint (Starlette, FastAPI) that reads their JSON body and computes in a thread.

    The endpoint finds the request's `RequestDeadline` in `CURRENT_DEADLINE`, and leaves there what was wrong.
    """

    def __init__(self, line: RequestQueue, limits: Limits) -> None:
        self.line, self.limits = line, limits
        # Of its own: those who wait for the model may hold all threads of the server.
        self._checkers = ThreadPoolExecutor(2, "hia-check")

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """The same endpoint behind the gate."""

        @wraps(endpoint)
        async def through_the_gate(request: Request) -> Response:
            ticket = RequestDeadline(self.limits.seconds)
            CURRENT_DEADLINE.set(ticket)
            try:
                response = await self._answer(request, ticket, endpoint)
            except RequestError as error:
                return refusal(error)
            except asyncio.CancelledError:
                ticket.leave()
                raise
            return response if ticket.error is None else refusal(ticket.error)

        return through_the_gate

    async def _answer(self, request: Request, ticket: RequestDeadline, endpoint: Endpoint) -> Response:
        self._check_headers(request)
        with self.line.admitted():
            body = await self._body(request)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._checkers, check_body, body, self.limits)
            watching = asyncio.create_task(_leave_with_the_client(request, ticket))
            try:
                return await asyncio.wait_for(endpoint(request=request), ticket.remaining())
            except (asyncio.TimeoutError, TimeoutError):
                ticket.leave()  # the thread ends after its present step
                raise ticket.too_late() from None
            finally:
                watching.cancel()

    def _check_headers(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise WrongType("Content-Type must be application/json")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.limits.request_bytes:
            raise TooLarge(f"the request has more than {self.limits.request_bytes:,} bytes")

    async def _body(self, request: Request) -> bytes:
        """The whole body. Kept where Starlette keeps it, so that the endpoint can ask for it again."""
        try:
            body = await asyncio.wait_for(self._read(request), self.limits.upload_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise SlowUpload(f"the body did not arrive within {self.limits.upload_seconds:g} s") from None
        request._body = body
        return body

    async def _read(self, request: Request) -> bytes:
        parts, total = [], 0
        async for part in request.stream():
            total += len(part)
            if total > self.limits.request_bytes:
                raise TooLarge(f"the request has more than {self.limits.request_bytes:,} bytes")
            parts.append(part)
        return b"".join(parts)


def refusal(error: RequestError) -> Response:
    """What the client reads: the shape that MLflow's errors have."""
    content = {"error_code": NAMES[error.status], "message": str(error)}
    headers = {"Retry-After": str(RETRY_AFTER)} if isinstance(error, Busy) else {}
    if isinstance(error, TooLarge | SlowUpload | WrongType):
        headers["Connection"] = "close"
    return JSONResponse(content, error.status, headers)


async def _leave_with_the_client(request: Request, ticket: RequestDeadline) -> None:
    """After the body, there is nothing to be received but the end of the connection.

    `request.is_disconnected` only looks, and under MLflow's middleware never sees it.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ticket.leave()
