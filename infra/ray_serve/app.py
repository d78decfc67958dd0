"""The registered model behind Ray Serve: an application of two deployments.

`Door` takes HTTP requests, looks at them, and has them answered by one of the replicas of `Animator`, of which each
holds a copy of the model. Requests, answers, limits and refusals are those of `mlflow models serve`.
"""

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hia.serving.envelope import one_row
from hia.serving.errors import Busy, RequestError
from hia.serving.gate import Gate
from hia.serving.limits import Limits
from hia.serving.line import TICKET, Line, Ticket
from hia.serving.loading import columns, load_generator
from hia.serving.schema import parse_request
from infra.ray_serve.source import model_directory, pinned, recorded_settings

# Serve itself holds back no request from the door, not even when all places are taken: it says so, and answers pings.
NEVER_FULL = 1000

logger = logging.getLogger(__name__)
api = FastAPI(openapi_url=None)


class Settings(BaseModel):
    """What `serve run` and a Serve configuration's `args` may say.

    model: models:/NAME@ALIAS, models:/NAME/VERSION, or a folder that all machines see. gpus: of a replica. watermark,
    limits: instead of what is recorded with the model. places: requests that may be on their way at once, in memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    gpus: float = Field(1, ge=0)
    watermark: bool | None = None
    limits: dict[str, int | float] = {}
    places: int = Field(16, ge=1)


def build(settings: Settings) -> serve.Application:
    """The application. `$HIA_LIMIT_<FIELD>` counts where this runs. Raises ValueError and what MLflow does."""
    model = pinned(settings.model)
    recorded = recorded_settings(model)
    limits = Limits.of({**recorded.get("limits", {}), **settings.limits})
    watermark = recorded.get("watermark", True) if settings.watermark is None else settings.watermark
    # mypy takes a decorated class for the class that it was.
    animator, door = cast(serve.Deployment, Animator), cast(serve.Deployment, Door)
    replicas = animator.options(ray_actor_options={"num_gpus": settings.gpus}).bind(model, limits, watermark)
    return door.bind(replicas, limits, settings.places)


@serve.deployment(max_ongoing_requests=2, max_queued_requests=8, ray_actor_options={"num_gpus": 1})
class Animator:
    """A copy of the model on a device. It makes one video after the other."""

    def __init__(self, model: str, limits: Limits, watermark: bool) -> None:
        with model_directory(model) as directory:
            self._generator = load_generator(directory, limits, watermark)
        self._threads = ThreadPoolExecutor(limits.waiting + 1, "hia-answer")

    async def answer(self, body: bytes, seconds: float) -> bytes | RequestError:
        """The JSON for a body that the gate has let through, within seconds.

        What is wrong with it is returned, not raised: Serve logs a traceback of everything that is raised.
        """
        ticket = Ticket(seconds)
        try:
            with self._generator.line.admitted():
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._made, body, ticket)
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            ticket.leave()  # the thread ends after its present step
            raise

    def _made(self, body: bytes, ticket: Ticket) -> bytes:
        content = json.loads(body)
        (layout,) = content.keys() - {"params"}
        row, params = one_row(layout, content[layout]), content.get("params") or {}
        result = self._generator.answer(parse_request(row, params, self._generator.limits), ticket)
        return json.dumps({"predictions": [columns(result)]}).encode()


@serve.deployment(max_ongoing_requests=NEVER_FULL, ray_actor_options={"num_cpus": 0.5})
@serve.ingress(api)
class Door:
    """HTTP: refuses what is no request, and what finds no place; the rest waits here for a replica that is free."""

    def __init__(self, animator: DeploymentHandle[Any], limits: Limits, places: int) -> None:
        self._animator = animator
        self._guarded = Gate(Line(places - 1), limits).guarded(self._answered)

    @api.get("/ping")
    async def ping(self) -> Response:
        """That requests are taken."""
        return Response("\n", media_type="application/json")

    @api.post("/invocations")
    async def invocations(self, request: Request) -> Response:
        """A video, see `hia.serving.model`."""
        return await self._guarded(request)

    async def _answered(self, request: Request) -> Response:
        ticket = TICKET.get()
        assert ticket is not None
        response = self._animator.answer.remote(await request.body(), ticket.remaining())
        try:
            answer = await response
        except BackPressureError as error:
            raise Busy(f"all replicas are at work and {error.args[0]} requests wait: come again later") from None
        except asyncio.CancelledError:
            response.cancel()  # out of the queue, or out of the replica
            raise
        except Exception:
            logger.exception("a request failed")
            message = "the request failed; the server's log says why"
            return JSONResponse({"error_code": "INTERNAL_ERROR", "message": message}, 500)
        if isinstance(answer, RequestError):
            raise answer
        return Response(answer, media_type="application/json")
