"""Preprocessing of one video: write its clips to the store and return its result (paper A.4)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hia.config import Config
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.annotations import check_map
from hia.data.preprocess.encoders import Encoders, load_encoders
from hia.data.preprocess.person import Sidecar, keypoint_origin, load_sidecar
from hia.data.preprocess.segments import SegmentProcessor
from hia.data.preprocess.shots import Survey, survey_video
from hia.data.preprocess.timer import Timer
from hia.data.store.journal import Journal
from hia.data.store.records import ClipInfo, Outcome, Rejected, Rejection, VideoResult
from hia.io.files import Folder, WriteError
from hia.pose.estimators import PoseEstimator, load_pose_estimator
from hia.video import VideoError, local_copy


@dataclass(frozen=True)
class Job:
    """One video to preprocess. key: digest of its content, the origin of its keypoints and the settings."""

    source: VideoSource
    key: str


@dataclass(frozen=True)
class PreprocessorFactory:
    """A factory of `VideoPreprocessor`s; small, so that it can be sent to the process in which they run.

    store: location of the clip store. device: of the encoders (`cpu`, `cuda`). threads: of ONNX Runtime, None for its
    default.
    """

    config: Config
    store: str
    device: str = "cpu"
    threads: int | None = None

    def create(self) -> "VideoPreprocessor":
        """Load the networks and make a preprocessor. Raises MissingWeights or ValueError."""
        encoders, pose = load_encoders(self.config, self.device), self.config.preprocess.pose
        return VideoPreprocessor(
            self.config, Folder(self.store), encoders, lambda: load_pose_estimator(pose, self.threads)
        )


class VideoPreprocessor:
    """A preprocessor of videos, one at a time; holds the networks. `make_estimator` is called when first needed."""

    def __init__(
        self, config: Config, folder: Folder, encoders: Encoders, make_estimator: Callable[[], PoseEstimator]
    ) -> None:
        self.settings, self.size = config.preprocess, (config.width, config.height)
        self.journal, self.encoders = Journal(folder), encoders
        self._make_estimator = make_estimator
        self._estimator: PoseEstimator | None = None
        self._copies: dict[str, str] = {}

    def __call__(self, job: Job) -> Outcome:
        """Preprocess a video unless it is finished. The outcome describes its problems: they raise nothing."""
        timer = Timer()
        self._copies.clear()
        try:
            result = self.journal.result(job.key) or self._preprocess(job, timer)
            self.journal.finish(result)
            return Outcome(job.source.name, result, None, dict(timer.seconds))
        except Exception as error:  # decoders and networks may raise anything; the other videos must go on
            return self._rejected(job, error, timer)
        except BaseException:  # Ctrl-C is not the video's fault
            self.journal.forget_attempts(job.key)
            raise

    def _preprocess(self, job: Job, timer: Timer) -> VideoResult:
        # A result whose clips are damaged or missing must not be listed if this attempt fails.
        self.journal.forget(job.key)
        self.journal.begin_attempt(job.key)
        with ExitStack() as copies:
            path = copies.enter_context(self._fetched(job.source.location))
            with timer("survey"):
                survey = survey_video(path, self.settings, job.source.fps)
            sidecar = self._sidecar(job.source, survey, copies)
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
            ).run()
        return _result(job, survey.seconds, parts)

    def _sidecar(self, source: VideoSource, survey: Survey, copies: ExitStack) -> Sidecar | None:
        """The content of a video's keypoint file; None where keypoints are estimated. Raises Rejected (sidecar)."""
        if keypoint_origin(source, self.settings) == "estimate":
            return None
        if source.sidecar is None:
            raise Rejected("sidecar", "there is no keypoint file beside it, and preprocess.pose.source is `sidecar`")
        return load_sidecar(copies.enter_context(self._fetched(source.sidecar)), survey)

    def _rejected(self, job: Job, error: Exception, timer: Timer) -> Outcome:
        """The outcome of a video that cannot be used; noted in the journal unless another run may succeed."""
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
            pass  # if the note cannot be written, the rejection is still reported, and found again by the next run
        return Outcome(job.source.name, None, rejection, dict(timer.seconds))

    @contextmanager
    def _fetched(self, location: str) -> Iterator[Path]:
        """A local copy of a file. In messages its location replaces its temporary name, different in each run."""
        with local_copy(location) as path:
            self._copies[str(path)] = location
            yield path

    @property
    def estimator(self) -> PoseEstimator:
        """The pose networks, loaded for the first video without a sidecar."""
        if self._estimator is None:
            self._estimator = self._make_estimator()
        return self._estimator


def explain(error: Exception) -> tuple[str, str, bool]:
    """Reason and message of a video's error, and True if another run may succeed."""
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
