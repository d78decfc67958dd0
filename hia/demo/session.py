"""A demo session: the page's controls in, views of the animation out, while it is made in a thread of its own.

The page can thus show progress, and end the work when its user asks for that.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from hia.animation.inference import Preview
from hia.demo.backend import AnimationResult, Backend, ControlDefaults, RequestInputs, write_side_by_side
from hia.demo.html import progress_html, summary_html, waiting_html
from hia.images import Frame
from hia.serving.client import ServerError, driving_column
from hia.serving.errors import RequestError
from hia.serving.queue import RequestContext

# Seconds between two views while there is nothing new.
TICK = 0.5
Event = Preview | AnimationResult | BaseException
logger = logging.getLogger(__name__)


class AnimationFailed(Exception):
    """There is no video. The message is for the user."""


@dataclass(frozen=True)
class Controls:
    """The values of the controls, on the left side of the page. Files are None where nothing was chosen."""

    picture: str | None
    motion: str | None
    sharpness: float
    guidance_scale: float
    seed: float | None
    steps: float
    align: bool
    person: str | None

    def inputs(self, defaults: ControlDefaults) -> RequestInputs:
        """The inputs of a request. A control that was left alone gives no parameter: the model's own value applies.

        Raises AnimationFailed when a file is missing.
        """
        if not self.picture or not self.motion:
            raise AnimationFailed(
                f"choose a {'motion: a file of yours, or a sample' if self.picture else 'picture of a person'}"
            )
        files = {"reference": Path(self.picture), driving_column(Path(self.motion)): Path(self.motion)}
        if self.align and self.person:
            files["reference_keypoints"] = Path(self.person)
        values = {"sharpness": self.sharpness, "guidance_scale": self.guidance_scale, "steps": int(self.steps)}
        params = {name: value for name, value in values.items() if value != getattr(defaults, name)}
        return RequestInputs(files, params | {"seed": int(self.seed or 0), "align": self.align})


@dataclass(frozen=True, eq=False)
class View:
    """The right side of the page: a line of HTML, and a preview or the two videos (None: not yet)."""

    status: str
    preview: Frame | None = None
    side_by_side: Path | None = None
    result: Path | None = None


def run_session(runner: "AnimationRunner", controls: Controls, folder: Path) -> Iterator[View]:
    """Animate, and yield views, the last of them with the videos: files that exist until the iterator goes on.

    folder: for the videos. Raises AnimationFailed.
    """
    began, preview = time.monotonic(), None
    for event in runner.run(controls.inputs(runner.backend.defaults)):
        seconds = time.monotonic() - began
        if isinstance(event, AnimationResult):
            with tempfile.TemporaryDirectory(dir=folder) as videos:
                yield _final_view(event, Path(videos), seconds)
        else:
            preview = event or preview
            yield _progress_view(preview, seconds)


def _progress_view(preview: Preview | None, seconds: float) -> View:
    if preview is None:
        return View(waiting_html(seconds))
    return View(progress_html(preview.step, preview.steps, seconds), preview.frame)


def _final_view(animation: AnimationResult, folder: Path, seconds: float) -> View:
    result, side_by_side = folder / "animation.mp4", folder / "side_by_side.mp4"
    result.write_bytes(animation.video)
    write_side_by_side(side_by_side, result, float(animation.about["fps"]), animation.reference, animation.driving)
    return View(summary_html(animation.about, seconds), None, side_by_side, result)


class AnimationRunner:
    """Runs a backend's animations, each in a thread."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._threads: dict[RequestContext, threading.Thread] = {}

    def run(self, inputs: RequestInputs) -> Iterator[Preview | AnimationResult | None]:
        """Yield previews as they come, None when there is nothing new for a while, and last the result.

        Closing the iterator ends the work at its next step. Raises AnimationFailed.
        """
        context, events = RequestContext(self.backend.limits.seconds), SimpleQueue[Event]()
        thread = threading.Thread(target=self._work, args=(inputs, context, events), name="hia-demo", daemon=True)
        self._threads[context] = thread
        thread.start()
        try:
            while not isinstance(event := _latest(events), AnimationResult):
                yield event
            yield event
        finally:
            context.cancel()

    def close(self) -> None:
        """Cancel all animations, and wait for their end as long as the backend needs."""
        for context, thread in list(self._threads.items()):
            context.cancel()
            thread.join(self.backend.shutdown_seconds)

    def _work(self, inputs: RequestInputs, context: RequestContext, events: "SimpleQueue[Event]") -> None:
        try:
            events.put(self.backend.animate(inputs, context, events.put))
        except (RequestError, ServerError) as error:
            events.put(AnimationFailed(str(error)))
        except Exception:
            logger.exception("an animation failed")
            events.put(AnimationFailed("the animation failed; the log of hia demo says why"))
        finally:
            del self._threads[context]


def _latest(events: "SimpleQueue[Event]") -> Preview | AnimationResult | None:
    """The newest event; older ones are outdated. None when none comes for a while. Raises an event that is an error."""
    try:
        event = events.get(timeout=TICK)
        while not events.empty():
            event = events.get()
    except Empty:
        return None
    if isinstance(event, BaseException):
        raise event
    return event
