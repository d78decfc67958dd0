"""Local and remote inference backends of the demo, and the pictures that it shows beside their results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hia.animation.inference import UNTRAINED_SHARPNESS, Preview, default_sharpness
from hia.conditions.driving import DrivingSignal, driving_signal
from hia.config import SamplingConfig
from hia.images import Frame, fit_to_size
from hia.pose.keypoints import KeypointSequence
from hia.serving.client import encode_file, request_video
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


@dataclass(frozen=True)
class RequestInputs:
    """The inputs of a request: files by column, and parameters, as `hia.serving.schema` has them."""

    files: Mapping[str, Path]
    params: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Frames of one size, RGB uint8 [H, W, 3], drawn on iteration, and a label that names their content."""

    label: str
    frames: Iterator[Frame]


@dataclass(frozen=True, eq=False)
class AnimationResult:
    """A video (mp4) and its properties, with the inputs it was made from, in its size.

    about: see `hia.serving.mlflow_model`. reference: RGB uint8 [H, W, 3]; driving: the motion, frame by frame.
    """

    video: bytes
    about: Mapping[str, Any]
    reference: Frame
    driving: LabelledFrames


@dataclass(frozen=True)
class ControlDefaults:
    """The initial positions of the page's controls. A control that is still there means the model's own value."""

    sharpness: float
    guidance_scale: float
    steps: int


class Backend(Protocol):
    """An inference backend of the page.

    limits: of uploads, too. watermarked: True if results are certain to be watermarked. shutdown_seconds: the longest
    time between the cancellation of a request and the end of its work.
    """

    limits: Limits
    defaults: ControlDefaults
    watermarked: bool
    shutdown_seconds: float

    def animate(
        self, inputs: RequestInputs, context: RequestContext, on_preview: Callable[[Preview], None]
    ) -> AnimationResult:
        """Make a video. on_preview is called after each step, if the backend can.

        Raises RequestError or ServerError with a message for the user.
        """


class LocalBackend:
    """A model in this process, with the limits and the watermark of a served one."""

    shutdown_seconds = 20.0  # the present step

    def __init__(self, generator: Generator) -> None:
        self.limits, self.watermarked, self._generator = generator.limits, generator.watermark is not None, generator
        model = generator.model
        sampling = model.config.sampling
        self.defaults = ControlDefaults(round(default_sharpness(model), 2), sampling.guidance_scale, sampling.steps)

    def animate(
        self, inputs: RequestInputs, context: RequestContext, on_preview: Callable[[Preview], None]
    ) -> AnimationResult:
        """See `Backend`."""
        request, signals = parse_inputs(inputs, self.limits), list[DrivingSignal]()
        with self._generator.queue.admitted():
            result = self._generator.generate(request, context, ProgressCallbacks(signals.append, on_preview))
        reference = _fit_reference(request, result.about)
        return AnimationResult(result.data, result.about, reference, skeletons(signals[0]))


class RemoteBackend:
    """A server (`mlflow models serve`). It sends no previews, and finishes a video even when nobody waits for it."""

    watermarked = False  # a server may be configured not to, so the page promises nothing
    shutdown_seconds = 0.0  # the thread is left behind with its connection

    def __init__(self, url: str, limits: Limits) -> None:
        self.limits, self._url = limits, url
        sampling = SamplingConfig()
        self.defaults = ControlDefaults(UNTRAINED_SHARPNESS, sampling.guidance_scale, sampling.steps)

    def animate(
        self, inputs: RequestInputs, context: RequestContext, on_preview: Callable[[Preview], None]
    ) -> AnimationResult:
        """See `Backend`."""
        request = parse_inputs(inputs, self.limits)
        response = request_video(self._url, inputs.files, inputs.params, patience=self.limits.seconds)
        about = response.about
        driving = driving_pictures(request.driving, int(about["width"]), int(about["height"]))
        return AnimationResult(response.video, about, _fit_reference(request, about), driving)


def parse_inputs(inputs: RequestInputs, limits: Limits) -> Request:
    """Read the files and parse the request. Raises RequestError."""
    row = {}
    for column, file in inputs.files.items():
        try:
            row[column] = encode_file(file)
        except UnicodeDecodeError:
            raise RequestError(f"{column}: this is no JSON, which is text in UTF-8") from None
    return parse_request(row, inputs.params, limits)


def _fit_reference(request: Request, about: Mapping[str, Any]) -> Frame:
    return fit_to_size(request.reference, int(about["width"]), int(about["height"]))


# ------------------------------------------------------------------------------------------------------------ pictures


def skeletons(signal: DrivingSignal) -> LabelledFrames:
    """The skeletons of a motion, as the networks see them."""
    numbers = range(len(signal.keypoints))
    return LabelledFrames("skeleton", (skeleton_picture(signal.control_image(number)) for number in numbers))


def driving_pictures(driving: KeypointSequence | ClipInMemory, width: int, height: int) -> LabelledFrames:
    """An uploaded motion in another size: its skeletons, or the video where only the server found its keypoints."""
    if isinstance(driving, KeypointSequence):
        return skeletons(driving_signal(driving.with_gaps_filled(), width, height, UNTRAINED_SHARPNESS))
    frames = _frames_at_nominal_rate(driving)
    return LabelledFrames("driving video", (fit_to_size(frame, width, height) for frame in frames))


def write_side_by_side(path: Path, result: Path, fps: float, reference: Frame, driving: LabelledFrames) -> None:
    """Write reference, driving pictures and result in a labelled row, as an mp4 with the result's statement of origin.

    The third picture keeps the result's watermark, but programs do not look for one in a part of a frame: hence the
    label.
    """
    rows = (
        even(panel_row({"reference": reference, driving.label: picture, RESULT: frame}))
        for picture, frame in zip(driving.frames, read_frames(result), strict=False)
    )
    write_video(path, rows, fps, {"comment": read_statement(result) or GENERATED})


def _frames_at_nominal_rate(clip: ClipInMemory) -> Iterator[Frame]:
    """The clip's frames resampled to its nominal rate: those that a server finds keypoints in."""
    repeats = np.bincount(resample(np.array(clip.times), clip.fps), minlength=len(clip.times))
    for frame, count in zip(clip, repeats, strict=True):
        for _ in range(count):
            yield frame
