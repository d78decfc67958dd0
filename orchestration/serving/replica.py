"""The deployment that holds the model."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.loading import columns, load_generator
from hia.serving.queue import RequestContext
from hia.serving.schema import RequestFields, decode_request
from orchestration.serving.model_source import model_directory


class Replica:
    """A copy of the model on a device. It makes one video after the other."""

    def __init__(self, model: str, limits: Limits, watermark: bool) -> None:
        with model_directory(model) as directory:
            self._generator = load_generator(directory, limits, watermark)
        self._threads = ThreadPoolExecutor(limits.waiting + 1, "hia-answer")

    async def answer(self, fields: RequestFields, seconds: float) -> bytes | RequestError:
        """Answer, in JSON, a request that the ingress has parsed, within seconds.

        An error is returned, not raised, because Serve logs a traceback of everything that is raised.
        """
        context = RequestContext(seconds, fields)
        try:
            with self._generator.queue.admitted():
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._generate, fields, context)
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            context.cancel()  # the thread ends after its present step
            raise

    def _generate(self, fields: RequestFields, context: RequestContext) -> bytes:
        result = self._generator.generate(decode_request(fields, self._generator.limits), context)
        return json.dumps({"predictions": [columns(result)]}).encode()
