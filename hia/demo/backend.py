"""Who makes the videos of the page: a model of this process, or a server. The page cannot tell which."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hia.animation.inference import UNTRAINED_SHARPNESS, DrivingSignal, Preview, default_sharpness, driving_signal
from hia.config import SamplingConfig
from hia.images import Frame, fit_to_size
from hia.pose.keypoints import KeypointSequence
from hia.serving.client import as_text, ask
from hia.serving.encoding import GENERATED, read_statement
from hia.serving.errors import RequestError
from hia.serving.generator import Generator, ProgressCallbacks
from hia.serving.limits import Limits
from hia.serving.queue import RequestContext
from hia.serving.schema import Request, parse_request
from hia.serving.video_upload import ClipInMemory
from hia.video import read_frames, resample, write_video
from hia.visualization.comparison import even, panel_row
from hia.visualization.skeleton import skeleton_picture

RESULT = "AI-generated result"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size, RGB uint8 [H, W, 3], drawn as they are asked for; label: what they show."""

    label: str
    frames: Iterator[Frame]


def skeletons(signal: DrivingSignal) -> Pictures:
    """What the networks see of a motion."""
    numbers = range(len(signal.keypoints))
    return Pictures("skeleton", (skeleton_picture(signal.control_image(number)) for number in numbers))


def driving_pictures(driving: KeypointSequence | ClipInMemory, width: int, height: int) -> Pictures:
    """A motion as it was sent, in another size: its skeletons, or the video where its keypoints are not known here."""
    if isinstance(driving, KeypointSequence):
        return skeletons(driving_signal(driving, width, height, UNTRAINED_SHARPNESS))
    return Pictures("driving video", (fit_to_size(frame, width, height) for frame in _at_its_rate(driving)))


def write_side_by_side(path: Path, result: Path, fps: float, reference: Frame, driving: Pictures) -> None:
    """Reference, driving pictures and result in a labelled row, as an mp4 that says of its origin what the result does.

    Its third picture keeps the result's watermark, but no program looks for one there: hence the label.
    """
    rows = (
        even(panel_row({"reference": reference, driving.label: shown, RESULT: frame}))
        for shown, frame in zip(driving.frames, read_frames(result), strict=False)
    )
    write_video(path, rows, fps, {"comment": read_statement(result) or GENERATED})


def _at_its_rate(clip: ClipInMemory) -> Iterator[Frame]:
    """The frames that a server makes keypoints of: the clip's at its nominal rate."""
    times_shown = np.bincount(resample(np.array(clip.times), clip.fps), minlength=len(clip.times))
    for frame, times in zip(clip, times_shown, strict=True):
        for _ in range(times):
            yield frame


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

    about: see `hia.serving.mlflow_model`. reference: RGB uint8 [H, W, 3]; driving: what drove each frame.
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

    def animate(self, order: Order, ticket: RequestContext, tell: Callable[[Step], None]) -> Made:
        """A video; tells of its steps, if it knows. Raises RequestError, ServerError with a message for the visitor."""


class LocalBackend:
    """A model of this process, bounded and marked as a served one."""

    ends_within = 20.0  # the present step

    def __init__(self, generator: Generator) -> None:
        self.limits, self.marks, self._generator = generator.limits, generator.marks, generator
        model = generator.model
        sampling = model.config.sampling
        self.defaults = Defaults(round(default_sharpness(model), 2), sampling.guidance_scale, sampling.steps)

    def animate(self, order: Order, ticket: RequestContext, tell: Callable[[Step], None]) -> Made:
        """See `Backend`."""
        request, signals = checked(order, self.limits), list[DrivingSignal]()

        def on_preview(preview: Preview) -> None:
            tell(Step(preview.step, preview.steps, preview.frame))

        with self._generator.queue.admitted():
            result = self._generator.answer(request, ticket, ProgressCallbacks(signals.append, on_preview))
        return Made(result.data, result.about, _fitted(request, result.about), skeletons(signals[0]))


class RemoteBackend:
    """A server (`mlflow models serve`): it says nothing before the video is done, and finishes what nobody awaits."""

    marks = False  # unless the server was told not to: the page promises nothing
    ends_within = 0.0  # the thread stays behind with its connection

    def __init__(self, url: str, limits: Limits) -> None:
        self.limits, self._url = limits, url
        sampling = SamplingConfig()
        self.defaults = Defaults(UNTRAINED_SHARPNESS, sampling.guidance_scale, sampling.steps)

    def animate(self, order: Order, ticket: RequestContext, tell: Callable[[Step], None]) -> Made:
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
