"""From a checked request to an encoded video: the same bytes for the same request, whoever else is served."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hia.animation.inference import DrivingSignal, Preview, animate, default_sharpness, driving_signal
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
    """A video and what it is. seconds: spent on each of `PHASES`; decoding belongs to sampling."""

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
        """All but the video itself."""
        return {name: value for name, value in vars(self).items() if name != "data"}


@dataclass(frozen=True)
class ResolvedRequest:
    """What a request comes to for a model: its settings, and the output's size in px."""

    sampling: SamplingConfig
    width: int
    height: int


@dataclass(frozen=True)
class ProgressCallbacks:
    """Is told how a video gets on: its motion once that is known, and after each step the middle frame as it is then.

    Previews are marked as results are.
    """

    on_driving: Callable[[DrivingSignal], None]
    on_preview: Callable[[Preview], None]


class Generator:
    """One model on one device, and the line before it.

    version: of the model, as results tell it. make_estimator: loads the pose networks when a request first needs them.
    watermark: None leaves frames as they are. thread: in which the model was loaded, if not in this one.
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
        self.queue, self.marks = RequestQueue(limits.waiting), watermark is not None
        self._watermark = watermark
        self._thread = thread or SingleThreadExecutor()
        self._motion = MotionReader(make_estimator, model.config.preprocess.pose.detect_every)

    def answer(
        self, request: Request, ticket: RequestContext, onlooker: ProgressCallbacks | None = None
    ) -> GeneratedVideo:
        """Wait for the turn, and make the video. Raises RequestError for what this model cannot do."""
        plan, watch = self.plan(request), _DeadlineCallbacks()
        with self.queue.turn(ticket):
            watch.lap("waiting")
            frames, fps = self._thread.run(lambda: self._made(request, plan, ticket, onlooker, watch))
        params = request.params
        data = encode_video(frames, fps, params.format, statement(self.version, params.seed))
        watch.lap("encoding")
        size = plan.width, plan.height
        return GeneratedVideo(data, params.format, len(frames), *size, fps, params.seed, self.version, watch.seconds)

    def _made(
        self,
        request: Request,
        plan: ResolvedRequest,
        ticket: RequestContext,
        onlooker: ProgressCallbacks | None,
        watch: "_DeadlineCallbacks",
    ) -> tuple[list[Frame], float]:
        """The marked frames, and how many are shown in a second."""
        keypoints = self._motion.keypoints(request, ticket)
        self._check_work(len(keypoints), plan)
        watch.lap("keypoints")
        frames = list(self._frames(request, keypoints, plan, ticket, onlooker))
        watch.lap("sampling")
        frames = [self._marked(frame, ticket) for frame in frames]
        watch.lap("marking")
        return frames, keypoints.fps

    def _marked(self, frame: Frame, ticket: RequestContext) -> Frame:
        ticket.check()
        return frame if self._watermark is None else self._watermark.written(frame)

    def plan(self, request: Request) -> ResolvedRequest:
        """Settings and size; what cannot be is refused before anybody waits for it. Raises RequestError."""
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
        plan = ResolvedRequest(_sampling(config.sampling, params), width, height)
        if plan.sampling.steps > config.schedule.num_train_timesteps:
            raise RequestError(f"steps: this model has {config.schedule.num_train_timesteps} only")
        self._check_work(num_frames(request), plan)
        return plan

    def _check_work(self, frames: int, plan: ResolvedRequest) -> None:
        pixels, steps = plan.width * plan.height, plan.sampling.steps
        if frames > self.limits.frames:
            raise RequestError(f"{frames} frames at that fps; at most {self.limits.frames} are made")
        if frames * pixels * steps > self.limits.work:
            raise RequestError(
                f"{frames} frames of {pixels:,} pixels in {steps} steps are too much at once, beyond a product of "
                f"{self.limits.work:g}: ask for fewer"
            )

    def _frames(
        self,
        request: Request,
        keypoints: KeypointSequence,
        plan: ResolvedRequest,
        ticket: RequestContext,
        onlooker: ProgressCallbacks | None,
    ) -> Iterator[Frame]:
        model, params = self.model, request.params
        sharpness = default_sharpness(model) if params.sharpness is None else params.sharpness
        try:
            driving = driving_signal(keypoints, plan.width, plan.height, sharpness, model.config.conditions)
        except ValueError as error:
            raise RequestError(f"the driving keypoints cannot be used: {error}") from None
        on_step, on_preview = _only_while_awaited(ticket), None
        if onlooker is not None:
            onlooker.on_driving(driving)
            on_preview = self._previews(onlooker, ticket)
        frames = animate(
            model,
            request.reference,
            driving,
            plan.sampling,
            seed=params.seed,
            on_preview=on_preview,
            on_step=on_step,
        )
        for frame in frames:
            ticket.check()
            yield frame

    def _previews(self, onlooker: ProgressCallbacks, ticket: RequestContext) -> Callable[[Preview], None]:
        return lambda preview: onlooker.on_preview(replace(preview, frame=self._marked(preview.frame, ticket)))


class _DeadlineCallbacks:
    """Seconds from one lap to the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 4), now


def _sampling(default: SamplingConfig, params: Params) -> SamplingConfig:
    chosen = {name: getattr(params, name) for name in ("steps", "guidance", "guidance_scale")}
    return replace(default, **{name: value for name, value in chosen.items() if value is not None})


def _only_while_awaited(ticket: RequestContext) -> Callable[[int, int], None]:
    return lambda step, steps: ticket.check()
