"""Admission control: checks headers, size and contents of a request, enforces its deadline, answers its errors."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hia.serving.errors import Busy, RequestError, SlowUpload, TooLarge, WrongType
from hia.serving.limits import Limits
from hia.serving.queue import CURRENT_REQUEST, RequestContext, RequestQueue
from hia.serving.schema import RequestFields, parse_body

Endpoint = Callable[..., Awaitable[Response]]

# MLflow's names of errors, by HTTP status.
ERROR_CODES = {400: "INVALID_PARAMETER_VALUE", 413: "TOO_LARGE", 415: "WRONG_TYPE", 408: "SLOW_UPLOAD"}
ERROR_CODES |= {429: "RESOURCE_EXHAUSTED", 504: "DEADLINE_EXCEEDED"}
RETRY_AFTER_SECONDS = 5


class AdmissionControl:
    """Guards an endpoint (Starlette, FastAPI) that computes its answer to a JSON body in a thread.

    The endpoint finds the `RequestContext` in `CURRENT_REQUEST`, with the parsed body, and leaves its error there.
    keep_body: for an endpoint that reads the body itself, again; otherwise its memory is freed.
    """

    def __init__(self, queue: RequestQueue, limits: Limits, keep_body: bool = True) -> None:
        self.queue, self.limits, self._keep_body = queue, limits, keep_body
        # Threads of its own, because requests that wait for the model may hold all threads of the server.
        self._parsers = ThreadPoolExecutor(2, "hia-parse")

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """Wrap an endpoint."""

        @wraps(endpoint)
        async def guarded(request: Request) -> Response:
            context = RequestContext(self.limits.seconds)
            CURRENT_REQUEST.set(context)
            try:
                response = await self._answer(request, context, endpoint)
            except RequestError as error:
                return error_response(error)
            except asyncio.CancelledError:
                context.cancel()
                raise
            return response if context.error is None else error_response(context.error)

        return guarded

    async def _answer(self, request: Request, context: RequestContext, endpoint: Endpoint) -> Response:
        self._check_headers(request)
        with self.queue.admitted():
            context.fields = await self._parse(request)
            watcher = asyncio.create_task(_cancel_on_disconnect(request, context))
            try:
                return await asyncio.wait_for(endpoint(request=request), context.remaining())
            except (asyncio.TimeoutError, TimeoutError):
                context.cancel()  # the thread ends after its present step
                raise context.timeout_error() from None
            finally:
                watcher.cancel()

    def _check_headers(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise WrongType("Content-Type must be application/json")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.limits.request_bytes:
            raise TooLarge(f"the request has more than {self.limits.request_bytes:,} bytes")

    async def _parse(self, request: Request) -> RequestFields:
        """Receive and parse the body."""
        try:
            body = await asyncio.wait_for(self._receive(request), self.limits.upload_seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise SlowUpload(f"the body did not arrive within {self.limits.upload_seconds:g} s") from None
        if self._keep_body:
            request._body = body  # where Starlette keeps it, and finds it when the endpoint reads it
        return await asyncio.get_running_loop().run_in_executor(self._parsers, parse_body, body, self.limits)

    async def _receive(self, request: Request) -> bytes:
        parts, total = [], 0
        async for part in request.stream():
            total += len(part)
            if total > self.limits.request_bytes:
                raise TooLarge(f"the request has more than {self.limits.request_bytes:,} bytes")
            parts.append(part)
        return b"".join(parts)


def error_response(error: RequestError) -> Response:
    """The response for an error, in the shape that MLflow's errors have."""
    content = {"error_code": ERROR_CODES[error.status], "message": str(error)}
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, Busy) else {}
    if isinstance(error, TooLarge | SlowUpload | WrongType):
        headers["Connection"] = "close"
    return JSONResponse(content, error.status, headers)


async def _cancel_on_disconnect(request: Request, context: RequestContext) -> None:
    """Cancel a request when its client disconnects: after the body, nothing else can be received.

    `request.is_disconnected` does not wait, and under MLflow's middleware never sees it.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
    context.cancel()
