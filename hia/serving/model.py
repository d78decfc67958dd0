"""The animator as an MLflow model, made from this very file: `mlflow models serve` runs it, nothing is unpickled.

Beside it lies a model directory (`hia.models.export`) as the artifact `model`. A request is a table with a row for
each video, with the columns

    reference   the person's picture (PNG, JPEG, WebP, …) in base64
    driving     a keypoint file (.npz, see `hia.pose.sidecar`) in base64

and the answer has for each row `video`, an mp4 in base64, and `num_frames`. This is the only file of the package that
knows MLflow.
"""

import base64
import binascii
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from hia.animation import animate, default_sharpness, driving_signal
from hia.images import load_image
from hia.models.export import load_model
from hia.pose.sidecar import load_keypoints
from hia.video import write_video

INPUTS = ("reference", "driving")
# More than a picture or a minute of keypoints needs, and little enough for a server's memory.
MOST_BYTES, MOST_FRAMES, MOST_ROWS = 64 << 20, 2000, 8


class ServedAnimator(PythonModel):
    """Answers one request after the other: MLflow calls `predict` from several threads at once."""

    def load_context(self, context: Any) -> None:
        """Read the model directory, onto the GPU in bf16 where there is one."""
        model = load_model(context.artifacts["model"])
        self._model = model.to("cuda", torch.bfloat16) if torch.cuda.is_available() else model
        self._lock = threading.Lock()

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, str | int]]:
        """A video for each row of a data frame. Raises MlflowException (400) for input that cannot be used."""
        rows = model_input.to_dict("records")
        if len(rows) > MOST_ROWS:
            raise _refused(f"{len(rows)} rows in one request; at most {MOST_ROWS} are taken")
        seed = int((params or {}).get("seed", 0))
        if seed < 0:
            raise _refused(f"seed must be at least 0, not {seed}")
        with self._lock:
            return [self._answer(row, f"row {number}", seed) for number, row in enumerate(rows)]

    def _answer(self, row: Mapping[str, Any], where: str, seed: int) -> dict[str, str | int]:
        with tempfile.TemporaryDirectory() as name, _explained(where, name):
            folder = Path(name)
            for key in INPUTS:
                (folder / key).write_bytes(_decoded(row.get(key), f"{where}, {key}"))
            count = self._animate(folder, seed)
            return {"video": base64.b64encode((folder / "result.mp4").read_bytes()).decode(), "num_frames": count}

    def _animate(self, folder: Path, seed: int) -> int:
        """From the files `reference` and `driving` of a folder to its result.mp4; returns the number of frames."""
        reference, keypoints = load_image(folder / "reference"), load_keypoints(folder / "driving")
        if len(keypoints) > MOST_FRAMES:
            raise ValueError(f"driving has {len(keypoints)} frames; at most {MOST_FRAMES} are animated at once")
        model, config = self._model, self._model.config
        driving = driving_signal(keypoints, config.width, config.height, default_sharpness(model), config.conditions)
        write_video(folder / "result.mp4", animate(model, reference, driving, seed=seed), keypoints.fps)
        return len(keypoints)


def _decoded(text: Any, where: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise _refused(f"{where}: a text in base64 is needed")
    if len(text) > MOST_BYTES * 4 / 3 + 4:
        raise _refused(f"{where}: more than {MOST_BYTES >> 20} MiB are not taken")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused(f"{where}: this is no base64") from None


@contextmanager
def _explained(where: str, folder: str) -> Iterator[None]:
    """Errors of the input as MLflow answers them, without the names of files that the client never saw."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise _refused(f"{where}: {str(error).replace(f'{folder}/', '')}") from None


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(ServedAnimator())
