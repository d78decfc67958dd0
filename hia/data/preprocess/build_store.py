"""From inputs to a finished clip store: find, skip what is done, preprocess the rest, write the manifest.

How many work at a time is the runner's affair: the one here is a loop, `orchestration.preprocess` has one on Ray Data.
The finished store is the same for any.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from hia.config import Config
from hia.console import progress_bar
from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.ingest.splits import read_list
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.encoders import load_encoders
from hia.data.preprocess.manifest import assemble, begin_store, content_sha256, fingerprint, preprocessing_settings
from hia.data.preprocess.video_preprocessor import Job, PreprocessorFactory, explain
from hia.data.store.clip_store import ClipStore, open_store
from hia.data.store.journal import Journal
from hia.data.store.records import Outcome, Rejection, VideoResult
from hia.io.files import Folder
from hia.io.paths import is_url
from hia.pose.estimators import load_pose_estimator
from hia.video import local_copy

# Sends jobs to workers and yields their outcomes, in any order.
Runner = Callable[[PreprocessorFactory, Sequence[Job]], Iterator[Outcome]]

THREADS = 8
# Seconds: the longest that NFS keeps a listing, by default, and some.
PATIENCE = 90


def run_in_process(worker: PreprocessorFactory, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """The simplest runner: one video after the other in this process."""
    return map(worker.start(), jobs)


@dataclass(frozen=True)
class Built:
    """A finished store, and what this run did for it.

    num_videos: found; done_before: of these, those that an earlier run had done; retriable: rejections of this run that
    do not stay: the next run tries again; seconds_by_step: summed over the workers; notes: what else people should
    know, in words.
    """

    store: ClipStore
    num_videos: int
    done_before: int
    retriable: tuple[Rejection, ...]
    seconds_by_step: dict[str, float]
    notes: tuple[str, ...] = ()


def check_device(name: str) -> None:
    """Raises ValueError when PyTorch has no such device here."""
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
    """Make a clip store of videos, or bring an existing one up to date; what is done is not done again.

    inputs: files, folders, lists or fsspec URLs, see `hia.data.ingest.layouts`. output: a folder or fsspec URL, which
    may lie within an input: it is not searched. device, threads: see `PreprocessorFactory`. Raises ValueError when
    nothing is found, the store was made with other settings, or the folder is not empty and no store; MissingWeights;
    OSError when the store cannot be written, or another run is writing it. What is wrong with a video is
    written to rejected.jsonl instead.
    """
    folder = Folder(output)
    if any(_absolute(location) == _absolute(output) for location in inputs):
        raise ValueError(f"{folder} has the videos in it: the store needs a new folder, which may be one within it")
    test_list = read_list(config.preprocess.test_list) if config.preprocess.test_list else None
    found = find_videos_in_layout(
        inputs, config.preprocess.layout, without=folder.absolute, maps=config.preprocess.maps
    )
    settings = preprocessing_settings(config, load_encoders(config))
    with folder.lock():
        begin_store(folder, settings)
        folder.remove_aside()
        jobs, retriable = plan_jobs(found.sources, config, settings, progress)
        retriable += [Rejection(video=name, reason=reason, message=said) for name, reason, said in found.problems]
        journal = Journal(folder)
        missing = _missing(journal, jobs, progress)
        seconds: Counter[str] = Counter()
        arrived: list[str] = []
        outcomes = (
            runner(PreprocessorFactory(config, folder.absolute, device, threads), missing) if missing else iter(())
        )
        for outcome in _shown(outcomes, len(missing), progress):
            seconds.update(outcome.seconds_by_step)
            retriable += [outcome.transient] if outcome.transient else []
            arrived += [outcome.result.key] if outcome.result else []
            if len(arrived) == 1:
                _wait_for(arrived, folder)
        _wait_for(arrived, folder)
        folder.remove_aside()  # of workers that were killed and replaced meanwhile
        current = {job.source.name: job.key for job in jobs}
        notes = assemble(folder, settings, config.preprocess, current, retriable, found.ignored, test_list)
    store = open_store(output, check="none")
    done_before = len(jobs) - len(missing)
    return Built(store, len(found.sources), done_before, tuple(retriable), dict(seconds), tuple(notes))


def _absolute(location: str) -> str:
    """A location in one form, to be compared."""
    place = location.removeprefix("file://")
    return place.rstrip("/") if is_url(place) else os.path.realpath(os.path.expanduser(place))


def _wait_for(keys: Sequence[str], folder: Folder) -> None:
    """Return when the results of these videos are in the folder. Raises OSError when they do not come.

    Network file systems show what another machine has written after a while only.
    """
    deadline = time.monotonic() + PATIENCE
    while missing := {f"{key}.json" for key in keys} - set(folder.names("videos")):
        if time.monotonic() > deadline:
            raise OSError(
                f"{folder}: workers have finished {len(missing)} videos, but what they wrote is not here. The store "
                "must be in a folder that all machines share under the same name, or at a URL such as s3://bucket/store"
            )
        time.sleep(1)


def plan_jobs(
    sources: Sequence[VideoSource], config: Config, settings: dict[str, Any], progress: bool = False
) -> tuple[list[Job], list[Rejection]]:
    """A job for each video, and rejections of those that cannot be read or are copies of another."""
    estimates = any(is_estimated(source, config) for source in sources)
    pose = load_pose_estimator(config.preprocess.pose).fingerprint if estimates else None
    jobs: dict[str, Job] = {}
    rejected = []
    with ThreadPoolExecutor(THREADS) as threads:
        keys = threads.map(lambda source: _key(source, config, settings, pose), sources)
        bar = progress_bar(keys, total=len(sources), label="reading videos", unit="video", shown=progress)
        for source, key in zip(sources, bar, strict=True):
            if isinstance(key, Rejection):
                rejected.append(key)
            elif key in jobs:
                said = f"the same content as {jobs[key].source.name}, which is used"
                rejected.append(Rejection(video=source.name, reason="duplicate", message=said))
            else:
                jobs[key] = Job(source, key)
    return list(jobs.values()), rejected


def _key(source: VideoSource, config: Config, settings: dict[str, Any], pose: str | None) -> str | Rejection:
    """The key of a video's content, its keypoints' origin and the settings; or why it cannot be read."""
    try:
        with local_copy(source.location) as path:
            video = content_sha256(path)
        origin = pose
        if not is_estimated(source, config) and source.sidecar is not None:
            with local_copy(source.sidecar) as path:
                origin = content_sha256(path)
        return fingerprint(settings, video, origin, source.fps, *_maps_content(source))
    except (OSError, ValueError) as error:
        reason, message, _ = explain(error)
        return Rejection(video=source.name, reason=reason, message=message)


def _maps_content(source: VideoSource) -> Iterator[tuple[str, str]]:
    """Name and content of each map."""
    for name, location in source.maps:
        with local_copy(location) as path:
            yield name, content_sha256(path)


def is_estimated(source: VideoSource, config: Config) -> bool:
    """Whether the pose networks are needed for a video."""
    wanted = config.preprocess.pose.source
    return wanted == "estimate" or (wanted == "auto" and source.sidecar is None)


def _missing(journal: Journal, jobs: Sequence[Job], progress: bool) -> list[Job]:
    """The jobs of which no whole result is noted; those noted under another name are renamed."""

    def is_done(job: Job) -> bool:
        result = journal.result(job.key)
        if result is not None and (renamed := _renamed(result, job.source)) != result:
            journal.finish(renamed)
        return result is not None

    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(is_done, jobs)
        bar = progress_bar(found, total=len(jobs), label="looking for done ones", unit="video", shown=progress)
        return [job for job, done in zip(jobs, bar, strict=True) if not done]


def _renamed(result: VideoResult, source: VideoSource) -> VideoResult:
    return dataclasses.replace(
        result,
        name=source.name,
        group=source.group or source.name,
        split=source.split,
        clips=tuple(dataclasses.replace(clip, video=source.name) for clip in result.clips),
        rejected=tuple(dataclasses.replace(one, video=source.name) for one in result.rejected),
    )


def _shown(outcomes: Iterator[Outcome], total: int, progress: bool) -> Iterator[Outcome]:
    """Pass outcomes on under a progress bar that counts clips and rejections."""
    clips = rejections = 0
    with progress_bar(total=total, label="preprocessing", unit="video", shown=progress and total > 0) as bar:
        for outcome in outcomes:
            clips += len(outcome.result.clips) if outcome.result else 0
            rejections += len(outcome.result.rejected) if outcome.result else 1
            bar.set_postfix(clips=clips, rejected=rejections, refresh=False)
            bar.update()
            yield outcome
