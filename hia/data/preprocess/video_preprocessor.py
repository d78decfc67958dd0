"""Preprocessing of one video: its clips go into the store, its result is returned (paper A.4)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hia.config import Config, PreprocessConfig
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.annotations import check_map
from hia.data.preprocess.encoders import Encoders, load_encoders
from hia.data.preprocess.person import load_sidecar
from hia.data.preprocess.segments import SegmentProcessor
from hia.data.preprocess.shots import survey_video
from hia.data.preprocess.timer import Timer
from hia.data.store.journal import Journal
from hia.data.store.records import ClipInfo, Outcome, Rejected, Rejection, VideoResult
from hia.io.files import Folder, WriteError
from hia.pose.estimators import PoseEstimator, load_pose_estimator
from hia.video import VideoError, local_copy


@dataclass(frozen=True)
class Job:
    """One video to preprocess. key: of its content, the origin of its keypoints and the settings."""

    source: VideoSource
    key: str


@dataclass(frozen=True)
class PreprocessorFactory:
    """How to make a `VideoPreprocessor` in the process that shall run it; small, and can be sent there.

    store: location of the clip store. device: of the encoders (`cpu`, `cuda`); threads: of ONNX Runtime, None for its
    own choice.
    """

    config: Config
    store: str
    device: str = "cpu"
    threads: int | None = None

    def start(self) -> "VideoPreprocessor":
        """Load the networks. Raises MissingWeights or ValueError."""
        encoders, pose = load_encoders(self.config, self.device), self.config.preprocess.pose
        return VideoPreprocessor(
            self.config, Folder(self.store), encoders, lambda: load_pose_estimator(pose, self.threads)
        )


class VideoPreprocessor:
    """Makes clips of one video after another; holds the networks. `make_estimator` is called when first needed."""

    def __init__(
        self, config: Config, folder: Folder, encoders: Encoders, make_estimator: Callable[[], PoseEstimator]
    ) -> None:
        self.settings, self.size = config.preprocess, (config.width, config.height)
        self.journal, self.encoders = Journal(folder), encoders
        self._make_estimator = make_estimator
        self._estimator: PoseEstimator | None = None
        self._copies: dict[str, str] = {}

    def __call__(self, job: Job) -> Outcome:
        """Preprocess a video, or find that it is done. What is wrong with it is in the outcome, and raises nothing."""
        timer = Timer()
        self._copies.clear()
        try:
            result = self.journal.result(job.key) or self._preprocess(job, timer)
            self.journal.finish(result)
            return Outcome(job.source.name, result, None, dict(timer.seconds))
        except Exception as error:  # whatever a decoder or network makes of a strange file, the others go on
            return self._rejected(job, error, timer)
        except BaseException:  # the user's Ctrl-C says nothing about the video
            self.journal.forget_attempts(job.key)
            raise

    def _preprocess(self, job: Job, timer: Timer) -> VideoResult:
        # A result whose clips are no longer whole: it must not be listed if this attempt fails.
        self.journal.forget(job.key)
        self.journal.begin_attempt(job.key)
        with ExitStack() as copies:
            path = copies.enter_context(self._fetched(job.source.location))
            with timer("survey"):
                survey = survey_video(path, self.settings, job.source.fps)
            sidecar = None
            if uses_sidecar(job.source, self.settings):
                sidecar = load_sidecar(copies.enter_context(self._fetched(str(job.source.sidecar))), survey)
            maps = {name: copies.enter_context(self._fetched(place)) for name, place in job.source.maps}
            with timer("survey"):
                for name, place in maps.items():
                    check_map(name, place, survey)
            parts = SegmentProcessor(
                key=job.key,
                name=job.source.name,
                path=path,
                survey=survey,
                sidecar=sidecar,
                maps=maps,
                settings=self.settings,
                size=self.size,
                journal=self.journal,
                encoders=self.encoders,
                estimator=lambda: self.estimator,
                timer=timer,
            ).make()
        return _result(job, survey.seconds, parts)

    def _rejected(self, job: Job, error: Exception, timer: Timer) -> Outcome:
        """The outcome of a video that cannot be used; noted for good unless another run may succeed."""
        reason, message, transient = explain(error)
        for copy, location in self._copies.items():
            message = message.replace(copy, location)
        rejection = Rejection(video=job.source.name, reason=reason, message=message)
        try:
            if not transient:
                result = _result(job, 0.0, [rejection])
                self.journal.finish(result)
                return Outcome(job.source.name, result, None, dict(timer.seconds))
            self.journal.forget_attempts(job.key)
        except OSError:
            pass  # what cannot be noted is reported all the same, and found again at the next run
        return Outcome(job.source.name, None, rejection, dict(timer.seconds))

    @contextmanager
    def _fetched(self, location: str) -> Iterator[Path]:
        """A local copy, whose name, which is another one each time, stands for its location in messages."""
        with local_copy(location) as path:
            self._copies[str(path)] = location
            yield path

    @property
    def estimator(self) -> PoseEstimator:
        """The pose networks; loading them waits for the first video without a sidecar."""
        if self._estimator is None:
            self._estimator = self._make_estimator()
        return self._estimator


def uses_sidecar(source: VideoSource, settings: PreprocessConfig) -> bool:
    """Whether a video's keypoints are read rather than estimated. Raises Rejected where they must be and are not."""
    if settings.pose.source == "sidecar" and source.sidecar is None:
        raise Rejected("sidecar", "there is no keypoint file beside it, and preprocess.pose.source is `sidecar`")
    return settings.pose.source != "estimate" and source.sidecar is not None


def explain(error: Exception) -> tuple[str, str, bool]:
    """What an error says of a video: reason, message, and whether another run may succeed."""
    if isinstance(error, Rejected):
        return error.reason, str(error), error.transient
    if isinstance(error, VideoError):
        return error.reason, str(error), isinstance(error, OSError)
    if isinstance(error, WriteError):
        return "write_failed", str(error), True
    if isinstance(error, (OSError, MemoryError)):
        return "unreadable_file", str(error) or repr(error), True
    return "failed", f"{type(error).__name__}: {error}", True


def _result(job: Job, seconds: float, parts: Sequence[ClipInfo | Rejection]) -> VideoResult:
    source = job.source
    return VideoResult(
        key=job.key,
        name=source.name,
        group=source.group or source.name,
        split=source.split,
        seconds=round(seconds, 6),
        clips=tuple(part for part in parts if isinstance(part, ClipInfo)),
        rejected=tuple(part for part in parts if isinstance(part, Rejection)),
    )
