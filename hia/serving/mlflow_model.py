"""The MLflow model, as code: `mlflow models serve` runs this very file, and unpickles nothing.

Beside it lies a model directory (`hia.models.animation_model`) as the artifact `model`. Requests are defined in
`hia.serving.schema`; the answer has the columns

    video        mp4, webp or gif, in base64
    format       which of them
    num_frames   also width, height (px) and fps
    seed         that was used
    seconds      spent on waiting, keypoints, sampling, marking and encoding
    version      of the model: its name and number in the registry, and the beginning of its directory's SHA-256

This is the only file of the package that imports MLflow.
"""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos import databricks_pb2 as codes
from mlflow.pyfunc import PythonModel

from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.loading import LIMITS, WATERMARK, columns, load_generator
from hia.serving.middleware import AdmissionControl
from hia.serving.queue import CURRENT_REQUEST, RequestContext
from hia.serving.schema import RequestFields, decode_request, parse_fields

SERVER = "mlflow.pyfunc.scoring_server"
CODES = {429: codes.RESOURCE_EXHAUSTED, 504: codes.DEADLINE_EXCEEDED}
# The server's own timeout explains nothing to the client, so ours comes so many seconds earlier.
EARLIER = 1.0

logger = logging.getLogger(__name__)


class ServedAnimator(PythonModel):
    """The served model: answers one request after the other, although MLflow calls `predict` from several threads."""

    def load_context(self, context: Any) -> None:
        """Load the model directory, onto the GPU in bf16 where there is one. Raises what `load_model` does."""
        settings = context.model_config or {}
        limits = Limits.of(settings.get(LIMITS))
        if (server := sys.modules.get(f"{SERVER}.app")) is not None:
            limits = replace(limits, seconds=_before_server_timeout(limits.seconds))
        self._limits = limits
        self._generator = load_generator(Path(context.artifacts["model"]), limits, settings.get(WATERMARK, True))
        if server is not None:
            _guard_server(AdmissionControl(self._generator.queue, limits))

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Make a video for the row of a data frame. Raises MlflowException: 400 for invalid input, 429, 504.

        Behind `AdmissionControl` the request is admitted and parsed already, from the same body: it is not read again.
        """
        request = CURRENT_REQUEST.get() or RequestContext(self._limits.seconds)
        try:
            if request.fields is not None:
                return [self._generate(request.fields, request)]
            with self._generator.queue.admitted():
                return [self._generate(_parse_table(model_input, params or {}, self._limits), request)]
        except RequestError as error:
            request.error = error
            code = CODES.get(error.status, codes.INVALID_PARAMETER_VALUE)
            raise MlflowException(str(error), error_code=code) from None
        except Exception:
            logger.exception("a request failed")
            raise MlflowException("the request failed; the server's log says why", codes.INTERNAL_ERROR) from None

    def _generate(self, fields: RequestFields, request: RequestContext) -> dict[str, Any]:
        return columns(self._generator.generate(decode_request(fields, self._limits), request))


def _parse_table(table: pandas.DataFrame, params: Mapping[str, Any], limits: Limits) -> RequestFields:
    """The only row of a data frame, checked."""
    if len(table) != 1:
        raise RequestError(f"{len(table)} rows; one video is made for a request")
    row = {str(name): _none_if_missing(value) for name, value in table.iloc[0].items()}
    return parse_fields(row, params, limits)


def _none_if_missing(value: Any) -> Any:
    """A value, or None for each of pandas' marks of a missing one: None, NA, NaN."""
    return None if value is None or value is pandas.NA or (isinstance(value, float) and value != value) else value


def _before_server_timeout(seconds: float) -> float:
    """The time limit for an answer, s, early enough before MLflow's own."""
    allowed = float(os.environ.get(MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.name) or seconds)
    return min(seconds, max(allowed - EARLIER, allowed / 2))


def _guard_server(admission: AdmissionControl) -> None:
    """Put admission control in front of MLflow's endpoint.

    MLflow's server has no hook for limits and queues, but looks up this decorator of its endpoint after loading the
    model. Raises AttributeError at start-up where another version of MLflow has no such decorator: a server without
    limits must not start.
    """
    server: Any = sys.modules[SERVER]
    theirs = server._async_catch_mlflow_exception
    server._async_catch_mlflow_exception = lambda endpoint: admission.guard(theirs(endpoint))


set_model(ServedAnimator())
