"""The deployment that has the model."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.loading import columns, load_generator
from hia.serving.queue import RequestDeadline
from hia.serving.schema import one_row, parse_request
from orchestration.serving.model_source import model_directory


class Replica:
    """A copy of the model on a device. It makes one video after the other."""

    def __init__(self, model: str, limits: Limits, watermark: bool) -> None:
        with model_directory(model) as directory:
            self._generator = load_generator(directory, limits, watermark)
        self._threads = ThreadPoolExecutor(limits.waiting + 1, "hia-answer")

    async def answer(self, body: bytes, seconds: float) -> bytes | RequestError:
        """The JSON for a body that the gate has let through, within seconds.

        What is wrong with it is returned, not raised: Serve logs a traceback of everything that is raised.
        """
        ticket = RequestDeadline(seconds)
        try:
            with self._generator.line.admitted():
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._made, body, ticket)
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            ticket.leave()  # the thread ends after its present step
            raise

    def _made(self, body: bytes, ticket: RequestDeadline) -> bytes:
        content = json.loads(body)
        (layout,) = content.keys() - {"params"}
        row, params = one_row(layout, content[layout]), content.get("params") or {}
        result = self._generator.answer(parse_request(row, params, self._generator.limits), ticket)
        return json.dumps({"predictions": [columns(result)]}).encode()
