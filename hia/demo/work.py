"""Videos made in threads of their own, so that the page can show how they get on, and ends when it is asked to."""

import logging
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from hia.demo.backend import Backend, Made, Order, Step
from hia.serving.client import ServerError
from hia.serving.errors import RequestError
from hia.serving.line import Ticket

# How often the page hears that there is nothing new, s.
TICK = 0.5

Event = Step | Made | BaseException
logger = logging.getLogger(__name__)


class Failed(Exception):
    """There is no video; the message is for the visitor."""


class Workshop:
    """Makes the videos of a backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._under_way: dict[Ticket, threading.Thread] = {}

    def make(self, order: Order) -> Iterator[Step | Made | None]:
        """The steps of a video as they are done, None while nothing happens, and last the video.

        Closing the iterator ends the work at its next step. Raises Failed.
        """
        ticket, events = Ticket(self.backend.limits.seconds), SimpleQueue[Event]()
        thread = threading.Thread(target=self._work, args=(order, ticket, events), name="hia-demo", daemon=True)
        self._under_way[ticket] = thread
        thread.start()
        try:
            while not isinstance(event := _latest(events), Made):
                yield event
            yield event
        finally:
            ticket.leave()

    def close(self) -> None:
        """End what is under way, and wait for that as long as the backend needs."""
        for ticket, thread in list(self._under_way.items()):
            ticket.leave()
            thread.join(self.backend.ends_within)

    def _work(self, order: Order, ticket: Ticket, events: "SimpleQueue[Event]") -> None:
        try:
            events.put(self.backend.animate(order, ticket, events.put))
        except (RequestError, ServerError) as error:
            events.put(Failed(str(error)))
        except Exception:
            logger.exception("an animation failed")
            events.put(Failed("the animation failed; the log of hia demo says why"))
        finally:
            del self._under_way[ticket]


def _latest(events: "SimpleQueue[Event]") -> Step | Made | None:
    """The newest event, older ones are past; None when there is none for a while. Raises the one that is an error."""
    try:
        event = events.get(timeout=TICK)
        while not events.empty():
            event = events.get()
    except Empty:
        return None
    if isinstance(event, BaseException):
        raise event
    return event
