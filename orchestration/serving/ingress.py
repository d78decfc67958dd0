"""The HTTP deployment, in front of the replicas."""

import asyncio
import logging

from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hia.serving.errors import Busy, RequestError
from hia.serving.limits import Limits
from hia.serving.middleware import AdmissionControl
from hia.serving.queue import CURRENT_REQUEST, RequestQueue

logger = logging.getLogger(__name__)


class Ingress:
    """Parses requests and passes them to the replicas. Refuses invalid ones, and all when the queue is full.

    Admitted requests wait here until a replica is free.
    """

    def __init__(self, replica: DeploymentHandle, limits: Limits, places: int) -> None:
        self._replica = replica
        admission = AdmissionControl(RequestQueue(places - 1), limits, keep_body=False)
        self._endpoints = {("GET", "/ping"): self._ping, ("POST", "/invocations"): admission.guard(self._answer)}

    async def __call__(self, request: Request) -> Response:
        """Answer an HTTP request: with a video, see `hia.serving.mlflow_model`; at /ping, with 200."""
        endpoint = self._endpoints.get((request.method, request.scope["path"]))
        return await endpoint(request) if endpoint else _error(404, "NOT_FOUND", "POST /invocations or GET /ping")

    async def _ping(self, request: Request) -> Response:
        return Response("\n", media_type="application/json")

    async def _answer(self, request: Request) -> Response:
        context = CURRENT_REQUEST.get()
        assert context is not None
        response = self._replica.answer.remote(context.fields, context.remaining())
        try:
            answer = await response
        except BackPressureError:
            raise Busy("all replicas are at work and the queue is full: come again later") from None
        except asyncio.CancelledError:
            response.cancel()  # out of the queue, or out of the replica
            raise
        except Exception:
            logger.exception("a request failed")
            return _error(500, "INTERNAL_ERROR", "the request failed; the server's log says why")
        if isinstance(answer, RequestError):
            raise answer
        return Response(answer, media_type="application/json")


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error_code": code, "message": message}, status)
