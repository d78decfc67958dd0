"""The animator as an MLflow model, made from this very file: `mlflow models serve` runs it, nothing is unpickled.

Beside it lies a model directory (`hia.models.animation_model`) as the artifact `model`. Requests are defined in
`hia.serving.schema`; the answer has the columns

    video        mp4, webp or gif, in base64
    format       which of them
    num_frames   also width, height (px) and fps
    seed         that was used
    seconds      spent on waiting, keypoints, sampling, marking and encoding
    version      of the model: its name and number in the registry, and the beginning of its directory's SHA-256

This is the only file of the package that knows MLflow.
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
from hia.serving.queue import CURRENT_DEADLINE, RequestDeadline
from hia.serving.schema import parse_request

SERVER = "mlflow.pyfunc.scoring_server"
CODES = {429: codes.RESOURCE_EXHAUSTED, 504: codes.DEADLINE_EXCEEDED}
# The server's own timeout answers without a word of explanation: ours comes before it.
EARLIER = 1.0

logger = logging.getLogger(__name__)


class ServedAnimator(PythonModel):
    """Answers one request after the other: MLflow calls `predict` from several threads at once."""

    def load_context(self, context: Any) -> None:
        """Read the model directory, onto the GPU in bf16 where there is one. Raises what `load_model` does."""
        settings = context.model_config or {}
        limits = Limits.of(settings.get(LIMITS))
        if (server := sys.modules.get(f"{SERVER}.app")) is not None:
            limits = replace(limits, seconds=_earlier(limits.seconds))
        self._limits = limits
        self._generator = load_generator(Path(context.artifacts["model"]), limits, settings.get(WATERMARK, True))
        if server is not None:
            _put_gate_before_server(AdmissionControl(self._generator.line, limits))

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """A video for the row of a data frame. Raises MlflowException: 400 for input that cannot be used, 429, 504."""
        admitted = CURRENT_DEADLINE.get()
        ticket = admitted or RequestDeadline(self._limits.seconds)
        try:
            if admitted:
                return [self._answer(model_input, params or {}, ticket)]
            with self._generator.line.admitted():
                return [self._answer(model_input, params or {}, ticket)]
        except RequestError as error:
            ticket.error = error
            code = CODES.get(error.status, codes.INVALID_PARAMETER_VALUE)
            raise MlflowException(str(error), error_code=code) from None
        except Exception:
            logger.exception("a request failed")
            raise MlflowException("the request failed; the server's log says why", codes.INTERNAL_ERROR) from None

    def _answer(self, table: pandas.DataFrame, params: Mapping[str, Any], ticket: RequestDeadline) -> dict[str, Any]:
        if len(table) != 1:
            raise RequestError(f"{len(table)} rows; one video is made for a request")
        row = {str(name): _given(value) for name, value in table.iloc[0].items()}
        return columns(self._generator.answer(parse_request(row, params, self._limits), ticket))


def _given(value: Any) -> Any:
    """pandas has several words for what is missing."""
    return None if value is None or value is pandas.NA or (isinstance(value, float) and value != value) else value


def _earlier(seconds: float) -> float:
    allowed = float(os.environ.get(MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.name) or seconds)
    return min(seconds, max(allowed - EARLIER, allowed / 2))


def _put_gate_before_server(gate: AdmissionControl) -> None:
    """MLflow's server has no hook for limits and queues, but looks this decorator of its endpoint up after loading.

    Raises AttributeError where another version of MLflow does not: rather no server than an open one.
    """
    server: Any = sys.modules[SERVER]
    theirs = server._async_catch_mlflow_exception
    server._async_catch_mlflow_exception = lambda endpoint: gate.guarded(theirs(endpoint))


set_model(ServedAnimator())
