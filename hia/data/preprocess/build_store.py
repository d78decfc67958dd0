"""Building of a clip store: find videos, skip finished ones, preprocess the rest, write the manifest.

A runner decides how many videos are processed at a time: the one here is a loop, `orchestration.preprocess` has one on
Ray Data. The finished store is the same with either.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from hia.config import Config
from hia.console import progress_bar
from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.ingest.listing import Problem
from hia.data.ingest.splits import read_list
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.encoders import load_encoders
from hia.data.preprocess.manifest import assemble, begin_store, preprocessing_settings
from hia.data.preprocess.person import keypoint_origin
from hia.data.preprocess.video_preprocessor import Job, PreprocessorFactory, explain
from hia.data.store.clip_store import ClipStore, open_store
from hia.data.store.journal import Journal
from hia.data.store.records import Outcome, Rejection, VideoResult
from hia.io.files import Folder
from hia.io.hashing import content_sha256, key_digest
from hia.io.paths import is_url
from hia.pose.estimators import load_pose_estimator
from hia.video import local_copy

# A runner sends jobs to workers and yields their outcomes, in any order.
Runner = Callable[[PreprocessorFactory, Sequence[Job]], Iterator[Outcome]]

THREADS = 8
# Seconds to wait for files of other machines: NFS caches a directory listing for up to 60 s by default.
PATIENCE = 90


def run_in_process(factory: PreprocessorFactory, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """The simplest runner: one video after another in this process."""
    return map(factory.create(), jobs)


@dataclass(frozen=True)
class Built:
    """A finished store, with a summary of the run.

    num_videos: videos found. done_before: those of them that an earlier run had finished. retriable: rejections of this
    run that are not final: the next run tries these videos again. seconds_by_step: summed over the workers. notes:
    further information for people, in words.
    """

    store: ClipStore
    num_videos: int
    done_before: int
    retriable: tuple[Rejection, ...]
    seconds_by_step: dict[str, float]
    notes: tuple[str, ...] = ()


def check_device(name: str) -> None:
    """Check that PyTorch can use a device on this machine. Raises ValueError if not."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used: {str(error).splitlines()[0]}") from None


def build_store(
    inputs: Sequence[str],
    output: str,
    config: Config,
    runner: Runner = run_in_process,
    *,
    device: str = "cpu",
    threads: int | None = None,
    progress: bool = False,
) -> Built:
    """Make a clip store from videos, or update an existing one; finished videos are not processed again.

    inputs: files, folders, lists or fsspec URLs, see `hia.data.ingest.layouts`. output: a folder or fsspec URL, which
    may lie within an input: it is not searched. device, threads: see `PreprocessorFactory`. Raises ValueError when
    there is no video, when the store was made with other settings, and when the folder is neither empty nor a store;
    MissingWeights; OSError when the store cannot be written, or another run is writing it. Problems with single videos
    are written to rejected.jsonl instead.
    """
    folder = Folder(output)
    _check_inputs(inputs, output)
    wanted = config.preprocess
    test_list = read_list(wanted.test_list) if wanted.test_list else None
    found = find_videos_in_layout(inputs, wanted.layout, without=folder.absolute, maps=wanted.maps)
    settings = preprocessing_settings(config, load_encoders(config))
    factory = PreprocessorFactory(config, folder.absolute, device, threads)
    with folder.lock():
        begin_store(folder, settings)
        folder.remove_aside()
        jobs, unusable = plan_jobs(found.sources, config, settings, progress)
        missing = _missing(Journal(folder), jobs, progress)
        transient, seconds = _preprocess(missing, factory, runner, folder, progress)
        folder.remove_aside()  # of workers that were killed and replaced meanwhile
        retriable = (*unusable, *_rejections(found.problems), *transient)
        keys = {job.source.name: job.key for job in jobs}
        notes = assemble(folder, settings, wanted, keys, retriable, found.ignored, test_list)
    store = open_store(output, check="none")
    return Built(store, len(found.sources), len(jobs) - len(missing), retriable, seconds, tuple(notes))


def plan_jobs(
    sources: Sequence[VideoSource], config: Config, settings: dict[str, Any], progress: bool = False
) -> tuple[list[Job], list[Rejection]]:
    """Jobs, one per video, and rejections of videos that cannot be read or are copies of another one."""
    estimated = any(keypoint_origin(source, config.preprocess) == "estimate" for source in sources)
    pose = load_pose_estimator(config.preprocess.pose).fingerprint if estimated else None
    jobs: dict[str, Job] = {}
    rejected = []
    with ThreadPoolExecutor(THREADS) as threads:
        keys = threads.map(lambda source: _key(source, config, settings, pose), sources)
        bar = progress_bar(keys, total=len(sources), label="reading videos", unit="video", shown=progress)
        for source, key in zip(sources, bar, strict=True):
            if isinstance(key, Rejection):
                rejected.append(key)
            elif key in jobs:
                message = f"the same content as {jobs[key].source.name}, which is used"
                rejected.append(Rejection(video=source.name, reason="duplicate", message=message))
            else:
                jobs[key] = Job(source, key)
    return list(jobs.values()), rejected


def _check_inputs(inputs: Sequence[str], output: str) -> None:
    """Check that the store is not one of the inputs itself. Raises ValueError if it is."""
    if any(_absolute(location) == _absolute(output) for location in inputs):
        raise ValueError(f"{output} has the videos in it: the store needs a new folder, which may be one within it")


def _absolute(location: str) -> str:
    """A location in a normal form, for comparison."""
    place = location.removeprefix("file://")
    return place.rstrip("/") if is_url(place) else os.path.realpath(os.path.expanduser(place))


def _key(source: VideoSource, config: Config, settings: dict[str, Any], pose: str | None) -> str | Rejection:
    """The key of a video: of its content, its keypoints' origin and the settings. A Rejection if it cannot be read."""
    try:
        video = _content(source.location)
        origin = pose
        if keypoint_origin(source, config.preprocess) == "sidecar":
            origin = None if source.sidecar is None else _content(source.sidecar)
        maps = [(name, _content(location)) for name, location in source.maps]
        return key_digest(settings, video, origin, source.fps, *maps)
    except (OSError, ValueError) as error:
        reason, message, _ = explain(error)
        return Rejection(video=source.name, reason=reason, message=message)


def _content(location: str) -> str:
    """Digest of the content of a path or URL."""
    with local_copy(location) as path:
        return content_sha256(path)


def _missing(journal: Journal, jobs: Sequence[Job], progress: bool) -> list[Job]:
    """The jobs without a complete result in the journal; finished videos with a new name are renamed there."""

    def is_done(job: Job) -> bool:
        result = journal.result(job.key)
        if result is not None and (renamed := _renamed(result, job.source)) != result:
            journal.finish(renamed)
        return result is not None

    with ThreadPoolExecutor(THREADS) as threads:
        finished = threads.map(is_done, jobs)
        bar = progress_bar(finished, total=len(jobs), label="looking for done ones", unit="video", shown=progress)
        return [job for job, done in zip(jobs, bar, strict=True) if not done]


def _renamed(result: VideoResult, source: VideoSource) -> VideoResult:
    return dataclasses.replace(
        result,
        name=source.name,
        group=source.group or source.name,
        split=source.split,
        clips=tuple(dataclasses.replace(clip, video=source.name) for clip in result.clips),
        rejected=tuple(dataclasses.replace(rejection, video=source.name) for rejection in result.rejected),
    )


def _preprocess(
    jobs: Sequence[Job], factory: PreprocessorFactory, runner: Runner, folder: Folder, progress: bool
) -> tuple[list[Rejection], dict[str, float]]:
    """Run the jobs and wait for their results in the folder. Returns transient rejections and seconds by step.

    The first result is waited for as soon as it is reported: where workers write to another folder of the same name,
    the run ends after one video and not after all of them.
    """
    transient: list[Rejection] = []
    seconds: Counter[str] = Counter()
    keys: list[str] = []
    outcomes = runner(factory, jobs) if jobs else iter(())
    for outcome in _with_progress(outcomes, len(jobs), progress):
        seconds.update(outcome.seconds_by_step)
        transient += [outcome.transient] if outcome.transient else []
        keys += [outcome.result.key] if outcome.result else []
        if len(keys) == 1:
            _wait_for(keys, folder)
    _wait_for(keys, folder)
    return transient, dict(seconds)


def _with_progress(outcomes: Iterator[Outcome], total: int, progress: bool) -> Iterator[Outcome]:
    """Pass outcomes on under a progress bar that counts clips and rejections."""
    clips = rejections = 0
    with progress_bar(total=total, label="preprocessing", unit="video", shown=progress and total > 0) as bar:
        for outcome in outcomes:
            clips += len(outcome.result.clips) if outcome.result else 0
            rejections += len(outcome.result.rejected) if outcome.result else 1
            bar.set_postfix(clips=clips, rejected=rejections, refresh=False)
            bar.update()
            yield outcome


def _wait_for(keys: Sequence[str], folder: Folder) -> None:
    """Wait until the results of these videos are in the folder. Raises OSError after `PATIENCE` seconds.

    Network file systems show files of other machines only after a while.
    """
    deadline = time.monotonic() + PATIENCE
    while missing := {f"{key}.json" for key in keys} - set(folder.names("videos")):
        if time.monotonic() > deadline:
            raise OSError(
                f"{folder}: workers have finished {len(missing)} videos, but what they wrote is not here. The store "
                "must be in a folder that all machines share under the same name, or at a URL such as s3://bucket/store"
            )
        time.sleep(1)


def _rejections(problems: Iterable[Problem]) -> Iterator[Rejection]:
    """Rejections of inputs that cannot be used."""
    for name, reason, message in problems:
        yield Rejection(video=name, reason=reason, message=message)
