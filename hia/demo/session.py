"""One animation as a visitor sees it: what the controls say becomes an order, and events become what is shown."""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from hia.demo.backend import Backend, Defaults, Made, Order, Step, write_side_by_side
from hia.demo.html import progress_html, summary_html, waiting_html
from hia.images import Frame
from hia.serving.client import ServerError, driving_column
from hia.serving.errors import RequestError
from hia.serving.queue import RequestContext

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
        self._under_way: dict[RequestContext, threading.Thread] = {}

    def make(self, order: Order) -> Iterator[Step | Made | None]:
        """The steps of a video as they are done, None while nothing happens, and last the video.

        Closing the iterator ends the work at its next step. Raises Failed.
        """
        ticket, events = RequestContext(self.backend.limits.seconds), SimpleQueue[Event]()
        thread = threading.Thread(target=self._work, args=(order, ticket, events), name="hia-demo", daemon=True)
        self._under_way[ticket] = thread
        thread.start()
        try:
            while not isinstance(event := _latest(events), Made):
                yield event
            yield event
        finally:
            ticket.cancel()

    def close(self) -> None:
        """End what is under way, and wait for that as long as the backend needs."""
        for ticket, thread in list(self._under_way.items()):
            ticket.cancel()
            thread.join(self.backend.ends_within)

    def _work(self, order: Order, ticket: RequestContext, events: "SimpleQueue[Event]") -> None:
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


@dataclass(frozen=True)
class Controls:
    """The left side of the page. Files are None where nothing was chosen."""

    picture: str | None
    motion: str | None
    sharpness: float
    guidance_scale: float
    seed: float | None
    steps: float
    align: bool
    person: str | None

    def order(self, defaults: Defaults) -> Order:
        """What is asked for. A control that was left alone is not given: the model's own value counts.

        Raises Failed when a file is missing.
        """
        if not self.picture or not self.motion:
            raise Failed(
                f"choose a {'motion: a file of yours, or a sample' if self.picture else 'picture of a person'}"
            )
        files = {"reference": Path(self.picture), driving_column(Path(self.motion)): Path(self.motion)}
        if self.align and self.person:
            files["reference_keypoints"] = Path(self.person)
        chosen = {"sharpness": self.sharpness, "guidance_scale": self.guidance_scale, "steps": int(self.steps)}
        params = {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
        return Order(files, params | {"seed": int(self.seed or 0), "align": self.align})


@dataclass(frozen=True, eq=False)
class View:
    """What the right side of the page shows: a line of HTML, and a preview or the two videos (None: not yet)."""

    status: str
    preview: Frame | None = None
    side_by_side: Path | None = None
    result: Path | None = None


def visit(workshop: Workshop, controls: Controls, folder: Path) -> Iterator[View]:
    """Views of an animation under way, the last of them with its videos: files that exist until the iterator goes on.

    folder: where they are written. Raises Failed with a message for the visitor.
    """
    began, step = time.monotonic(), None
    for event in workshop.make(controls.order(workshop.backend.defaults)):
        seconds = time.monotonic() - began
        if isinstance(event, Made):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                yield _finished(event, Path(place), seconds)
        else:
            step = event or step
            yield _under_way(step, seconds)


def _under_way(step: Step | None, seconds: float) -> View:
    if step is None:
        return View(waiting_html(seconds))
    return View(progress_html(step.done, step.steps, seconds), step.frame)


def _finished(made: Made, folder: Path, seconds: float) -> View:
    result, side_by_side = folder / "animation.mp4", folder / "side_by_side.mp4"
    result.write_bytes(made.video)
    write_side_by_side(side_by_side, result, float(made.about["fps"]), made.reference, made.driving)
    return View(summary_html(made.about, seconds), None, side_by_side, result)
