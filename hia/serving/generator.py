"""From a decoded request to an encoded video: the same request gives the same bytes, whatever else is served."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hia.animation.inference import Preview, animate, default_sharpness
from hia.conditions.driving import DrivingSignal, driving_signal
from hia.config import SamplingConfig
from hia.images import Frame
from hia.models.animation_model import AnimationModel
from hia.pose.estimators import PoseEstimator
from hia.pose.keypoints import KeypointSequence
from hia.serving.driving_motion import MotionReader, num_frames
from hia.serving.encoding import encode_video, statement
from hia.serving.errors import RequestError
from hia.serving.limits import Limits
from hia.serving.queue import RequestContext, RequestQueue, SingleThreadExecutor
from hia.serving.schema import Params, Request
from hia.serving.watermark import Watermark

PHASES = ("waiting", "keypoints", "sampling", "marking", "encoding")


@dataclass(frozen=True, eq=False)
class GeneratedVideo:
    """An encoded video and its properties. seconds: spent on each of `PHASES`; decoding latents is part of sampling."""

    data: bytes
    format: str
    num_frames: int
    width: int
    height: int
    fps: float
    seed: int
    version: str
    seconds: dict[str, float]

    @property
    def about(self) -> dict[str, Any]:
        """All properties but the video itself."""
        return {name: value for name, value in vars(self).items() if name != "data"}


@dataclass(frozen=True)
class ProgressCallbacks:
    """Progress callbacks: for the driving signal once it is known, and for a preview of the middle frame at each step.

    Previews are watermarked as results are.
    """

    on_driving: Callable[[DrivingSignal], None]
    on_preview: Callable[[Preview], None]


@dataclass(frozen=True)
class ResolvedRequest:
    """The sampling settings and the output size, px, that a request means for a model."""

    sampling: SamplingConfig
    width: int
    height: int


class Generator:
    """One model on one device, and the queue of requests for it.

    version: of the model, for results. make_estimator: loads the pose networks when a request first needs them.
    watermark: None leaves frames as they are. thread: the one in which the model was loaded, if not this one.
    """

    def __init__(
        self,
        model: AnimationModel,
        limits: Limits,
        version: str,
        make_estimator: Callable[[], PoseEstimator],
        watermark: Watermark | None = None,
        thread: SingleThreadExecutor | None = None,
    ) -> None:
        self.model, self.limits, self.version = model, limits, version
        self.queue = RequestQueue(limits.waiting)
        self.watermark = watermark
        self._motion = MotionReader(make_estimator, model.config.preprocess)
        self._thread = thread or SingleThreadExecutor()

    def generate(
        self, request: Request, context: RequestContext, callbacks: ProgressCallbacks | None = None
    ) -> GeneratedVideo:
        """Wait for the turn, and make the video. Raises RequestError for a request that this model cannot answer."""
        resolved = self.resolve(request)
        generation = _Generation(self, request, resolved, context, callbacks)
        with self.queue.turn(context):
            generation.stopwatch.lap("waiting")
            frames, fps = self._thread.run(generation.run)
        params = request.params
        data = encode_video(frames, fps, params.format, statement(self.version, params.seed))
        generation.stopwatch.lap("encoding")
        size, seconds = (resolved.width, resolved.height), generation.stopwatch.seconds
        return GeneratedVideo(data, params.format, len(frames), *size, fps, params.seed, self.version, seconds)

    def resolve(self, request: Request) -> ResolvedRequest:
        """Settings and size for a request. Raises RequestError for an impossible one, before it waits for its turn."""
        params, config = request.params, self.model.config
        width, height = params.width or config.width, params.height or config.height
        if params.format == "mp4" and (width % 2 or height % 2):
            raise RequestError(f"width and height must be even for mp4, not {width}×{height}")
        if width * height > self.limits.output_pixels:
            raise RequestError(f"{width}×{height} px; at most {self.limits.output_pixels:,} pixels are made")
        try:
            self.model.codec.check_size(width, height)
        except ValueError as error:
            raise RequestError(str(error)) from None
        resolved = ResolvedRequest(_sampling(config.sampling, params), width, height)
        if resolved.sampling.steps > config.schedule.num_train_timesteps:
            raise RequestError(f"steps: this model has {config.schedule.num_train_timesteps} only")
        self.check_work(num_frames(request), resolved)
        return resolved

    def check_work(self, frames: int, resolved: ResolvedRequest) -> None:
        """Raise RequestError for more frames, or more computing, than the limits allow."""
        pixels, steps = resolved.width * resolved.height, resolved.sampling.steps
        if frames > self.limits.frames:
            raise RequestError(f"{frames} frames at that fps; at most {self.limits.frames} are made")
        if frames * pixels * steps > self.limits.work:
            raise RequestError(
                f"{frames} frames of {pixels:,} pixels in {steps} steps are too much at once, beyond a product of "
                f"{self.limits.work:g}: ask for fewer"
            )


class _Generation:
    """The making of one video: keypoints, sampling, marking. Ends early when the request is cancelled."""

    def __init__(
        self,
        generator: Generator,
        request: Request,
        resolved: ResolvedRequest,
        context: RequestContext,
        callbacks: ProgressCallbacks | None,
    ) -> None:
        self._generator, self._request, self._resolved = generator, request, resolved
        self._context, self._callbacks = context, callbacks
        self.stopwatch = _Stopwatch()

    def run(self) -> tuple[list[Frame], float]:
        """The marked frames, and their number per second."""
        keypoints = self._generator._motion.keypoints(self._request, self._context)
        self._generator.check_work(len(keypoints), self._resolved)
        self.stopwatch.lap("keypoints")
        frames = list(self._sample(self._driving_signal(keypoints)))
        self.stopwatch.lap("sampling")
        frames = [self._mark(frame) for frame in frames]
        self.stopwatch.lap("marking")
        return frames, keypoints.fps

    def _driving_signal(self, keypoints: KeypointSequence) -> DrivingSignal:
        model, sharpness = self._generator.model, self._request.params.sharpness
        if sharpness is None:
            sharpness = default_sharpness(model)
        size = self._resolved.width, self._resolved.height
        try:
            return driving_signal(keypoints, *size, sharpness, model.config.conditions)
        except ValueError as error:
            raise RequestError(f"the driving keypoints cannot be used: {error}") from None

    def _sample(self, driving: DrivingSignal) -> Iterator[Frame]:
        if self._callbacks is not None:
            self._callbacks.on_driving(driving)
        frames = animate(
            self._generator.model,
            self._request.reference,
            driving,
            self._resolved.sampling,
            seed=self._request.params.seed,
            on_preview=self._preview if self._callbacks is not None else None,
            on_step=lambda step, steps: self._context.check(),
        )
        for frame in frames:
            self._context.check()
            yield frame

    def _preview(self, preview: Preview) -> None:
        assert self._callbacks is not None
        self._callbacks.on_preview(replace(preview, frame=self._mark(preview.frame)))

    def _mark(self, frame: Frame) -> Frame:
        self._context.check()
        watermark = self._generator.watermark
        return frame if watermark is None else watermark.embed(frame)


class _Stopwatch:
    """Seconds from one lap to the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 4), now


def _sampling(default: SamplingConfig, params: Params) -> SamplingConfig:
    """The model's sampling settings with those that a request gives."""
    values = {name: getattr(params, name) for name in ("steps", "guidance", "guidance_scale")}
    return replace(default, **{name: value for name, value in values.items() if value is not None})
