"""Who makes the videos of the page: a model of this process, or a server. The page cannot tell which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hia.animation import UNTRAINED_SHARPNESS, DrivingSignal, Preview, default_sharpness
from hia.config import SamplingConfig
from hia.demo.pictures import Pictures, driving_pictures, skeletons
from hia.images import Frame, fit_to_size
from hia.serving.client import as_text, ask
from hia.serving.errors import RequestError
from hia.serving.generate import Generator, Onlooker
from hia.serving.limits import Limits
from hia.serving.line import Ticket
from hia.serving.schema import Request, parse_request


@dataclass(frozen=True)
class Order:
    """What a visitor wants: files by column and parameters, as `hia.serving.schema` has them."""

    files: Mapping[str, Path]
    params: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Step:
    """How far a video is: `done` steps of `steps`; frame: the middle one as it is then, RGB uint8 [H, W, 3]."""

    done: int
    steps: int
    frame: Frame


@dataclass(frozen=True, eq=False)
class Made:
    """A video (mp4) and what is said of it, with what it was made from, in its size.

    about: see `hia.serving.model`. reference: RGB uint8 [H, W, 3]; driving: what drove each frame.
    """

    video: bytes
    about: Mapping[str, Any]
    reference: Frame
    driving: Pictures


@dataclass(frozen=True)
class Defaults:
    """Where the page's controls stand at first: there, the model's own values count."""

    sharpness: float
    guidance_scale: float
    steps: int


class Backend(Protocol):
    """Makes videos.

    limits: of uploads, too. marks: whether videos are known to be watermarked. ends_within: s, from nobody waiting for
    a video to the end of its work.
    """

    limits: Limits
    defaults: Defaults
    marks: bool
    ends_within: float

    def animate(self, order: Order, ticket: Ticket, tell: Callable[[Step], None]) -> Made:
        """A video; tells of its steps, if it knows. Raises RequestError, ServerError with a message for the visitor."""


class LocalBackend:
    """A model of this process, bounded and marked as a served one."""

    ends_within = 20.0  # the present step

    def __init__(self, generator: Generator) -> None:
        self.limits, self.marks, self._generator = generator.limits, generator.marks, generator
        model = generator.model
        sampling = model.config.sampling
        self.defaults = Defaults(round(default_sharpness(model), 2), sampling.guidance_scale, sampling.steps)

    def animate(self, order: Order, ticket: Ticket, tell: Callable[[Step], None]) -> Made:
        """See `Backend`."""
        request, signals = checked(order, self.limits), list[DrivingSignal]()

        def on_preview(preview: Preview) -> None:
            tell(Step(preview.step, preview.steps, preview.frame))

        with self._generator.line.admitted():
            result = self._generator.answer(request, ticket, Onlooker(signals.append, on_preview))
        return Made(result.data, result.about, _fitted(request, result.about), skeletons(signals[0]))


class RemoteBackend:
    """A server (`mlflow models serve`): it says nothing before the video is done, and finishes what nobody awaits."""

    marks = False  # unless the server was told not to: the page promises nothing
    ends_within = 0.0  # the thread stays behind with its connection

    def __init__(self, url: str, limits: Limits) -> None:
        self.limits, self._url = limits, url
        sampling = SamplingConfig()
        self.defaults = Defaults(UNTRAINED_SHARPNESS, sampling.guidance_scale, sampling.steps)

    def animate(self, order: Order, ticket: Ticket, tell: Callable[[Step], None]) -> Made:
        """See `Backend`."""
        request = checked(order, self.limits)
        answer = ask(self._url, order.files, order.params, patience=self.limits.seconds)
        size = int(answer.about["width"]), int(answer.about["height"])
        driving = driving_pictures(request.driving, *size)
        return Made(answer.video, answer.about, _fitted(request, answer.about), driving)


def checked(order: Order, limits: Limits) -> Request:
    """The order as a request. Raises RequestError."""
    row = {}
    for column, file in order.files.items():
        try:
            row[column] = as_text(file)
        except UnicodeDecodeError:
            raise RequestError(f"{column}: this is no JSON, which is text in UTF-8") from None
    return parse_request(row, order.params, limits)


def _fitted(request: Request, about: Mapping[str, Any]) -> Frame:
    return fit_to_size(request.reference, int(about["width"]), int(about["height"]))
