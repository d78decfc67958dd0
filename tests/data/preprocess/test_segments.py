"""Resuming by the notes about segments: nothing is lost, and nothing is done twice."""

import shutil
from pathlib import Path

import pytest

from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.preprocess.build_store import build_store, plan_jobs
from hia.data.preprocess.encoders import load_encoders
from hia.data.preprocess.manifest import preprocessing_settings
from hia.data.preprocess.video_preprocessor import VideoPreprocessor
from hia.data.store.journal import MOST_ATTEMPTS
from hia.io.files import Folder
from hia.pose.estimators import load_pose_estimator
from hia.video import write_video
from tests.data.raw_videos import background, centres, frames_of, small_config, write_dance, write_networks

SETTINGS = ("preprocess.longest_seconds=1", "preprocess.least_seconds=0.5")


@pytest.fixture
def config(tmp_path):
    return small_config(*SETTINGS, *write_networks(tmp_path / "networks"))


@pytest.fixture
def videos(tmp_path):
    """One video of three segments, without a sidecar."""
    (tmp_path / "videos").mkdir()
    write_dance(tmp_path / "videos" / "a.mp4", num_frames=80, sidecar=False)
    return tmp_path / "videos"


def preprocessor(config, store, make_estimator=None):
    """A preprocessor with its networks loaded."""
    make = make_estimator or (lambda: load_pose_estimator(config.preprocess.pose))
    return VideoPreprocessor(config, Folder(store), load_encoders(config), make)


def jobs_of(videos, config):
    settings = preprocessing_settings(config, load_encoders(config))
    return plan_jobs(find_videos_in_layout([str(videos)]).sources, config, settings)[0]


def no_estimator():
    raise AssertionError("keypoints were estimated again")


def files(store: Path):
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def block(store, name):
    """Make this folder of the store unwritable by a file of its name. Returns a function that undoes it."""
    place = store / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"")
    return place.unlink


def test_estimated_keypoints_are_noted_and_not_estimated_again(videos, config, tmp_path):
    store = tmp_path / "store"
    [job] = jobs_of(videos, config)
    free = block(store, "clips")
    outcome = preprocessor(config, store)(job)
    assert outcome.result is None and outcome.transient.reason == "write_failed"
    assert len(list((store / "work" / job.key).glob("*.safetensors"))) == 3
    free()
    again = preprocessor(config, store, no_estimator)(job)
    whole = preprocessor(config, tmp_path / "whole")(job)
    assert again.result == whole.result and len(whole.result.clips) == 3
    assert files(store) == files(tmp_path / "whole")


def test_clips_that_were_noted_are_not_made_again(videos, config, tmp_path):
    """The second of three clips is missing when the run goes on: the others' files are not touched."""
    store = tmp_path / "store"
    [job] = jobs_of(videos, config)
    free = block(store, "videos")
    assert preprocessor(config, store)(job).transient.reason == "write_failed"
    clips = sorted((store / "clips").rglob("*.safetensors"))
    assert len(clips) == 3
    contents = [clip.read_bytes() for clip in clips]
    free()
    clips[1].unlink()
    before = [clip.stat().st_ino for clip in (clips[0], clips[2])]
    assert len(preprocessor(config, store, no_estimator)(job).result.clips) == 3
    assert [clip.stat().st_ino for clip in (clips[0], clips[2])] == before
    assert [clip.read_bytes() for clip in clips] == contents


def test_an_altered_clip_is_made_again_as_it_was(videos, config, tmp_path):
    built = build_store([str(videos)], str(tmp_path / "store"), config, threads=1)
    before = files(tmp_path / "store")
    clip = tmp_path / "store" / built.store.clips[1].file
    clip.write_bytes(clip.read_bytes()[:-1] + b"?")
    again = build_store([str(videos)], str(tmp_path / "store"), config, threads=1)
    assert again.done_before == 0 and files(tmp_path / "store") == before


def test_a_shot_without_a_person_does_not_cost_the_others(tmp_path, config):
    (tmp_path / "videos").mkdir()
    walls = background(1) // 4, 255 - background(2) // 4, background(3) // 4
    middles = centres(90)
    frames = frames_of(middles[:30], walls[0]) + [walls[1]] * 30 + frames_of(middles[60:], walls[2])
    write_video(tmp_path / "videos" / "a.mp4", frames, 30)
    store = build_store([str(tmp_path / "videos")], str(tmp_path / "store"), config, threads=1).store
    assert [(clip.first_frame, clip.end_frame) for clip in store.clips] == [(0, 30), (60, 90)]
    [rejected] = store.rejected
    assert (rejected.reason, rejected.first_time, rejected.end_time) == ("nobody", 1.0, 2.0)
    # The clips are the same as those of videos with only this content.
    alone = tmp_path / "alone"
    alone.mkdir()
    write_video(alone / "b.mp4", frames[60:], 30)
    [clip] = build_store([str(alone)], str(tmp_path / "other"), config, threads=1).store.clips
    assert (clip.num_frames, clip.crop) == (store.clips[1].num_frames, store.clips[1].crop)


def test_a_video_whose_clips_got_lost_and_cannot_be_made_is_not_listed(videos, config, tmp_path):
    store = tmp_path / "store"
    write_dance(videos / "good.mp4", num_frames=40, seed=4)
    built = build_store([str(videos)], str(store), config, threads=1)
    before = files(store)
    for clip in built.store.clips:
        if clip.video == "a.mp4":
            (store / clip.file).unlink()
    # The pose networks exist when their digest is made, and are gone when they are needed.
    worker = preprocessor(config, store, lambda: (_ for _ in ()).throw(OSError("the network's disk is away")))
    again = build_store([str(videos)], str(store), config, lambda _, jobs: map(worker, jobs))
    assert {clip.video for clip in again.store.clips} == {"good.mp4"}
    assert [(one.video, one.reason) for one in again.store.rejected] == [("a.mp4", "unreadable_file")]
    assert not build_store([str(videos)], str(store), config, threads=1).retriable
    assert files(store) == before


def test_work_left_by_a_kill_at_the_very_end_of_a_video_goes(videos, config, tmp_path):
    store = tmp_path / "store"
    [job] = jobs_of(videos, config)
    build_store([str(videos)], str(store), config, threads=1)
    before = files(store)
    (store / "work" / job.key).mkdir(parents=True)
    (store / "work" / job.key / "attempt-1").write_bytes(b"")
    build_store([str(videos)], str(store), config, threads=1)
    assert files(store) == before


def test_stopping_by_hand_does_not_count_against_a_video(videos, config, tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    [job] = jobs_of(videos, config)
    for _ in range(MOST_ATTEMPTS + 1):
        with pytest.raises(KeyboardInterrupt):
            preprocessor(config, tmp_path / "store", interrupted)(job)
    assert len(preprocessor(config, tmp_path / "store")(job).result.clips) == 3


def test_an_error_that_no_one_foresaw_rejects_the_video_for_this_run_only(videos, config, tmp_path):
    [job] = jobs_of(videos, config)
    worker = preprocessor(config, tmp_path / "store", lambda: 1 // 0)
    for _ in range(MOST_ATTEMPTS + 1):
        outcome = worker(job)
        assert outcome.transient.reason == "failed" and "ZeroDivisionError" in outcome.transient.message
    assert len(preprocessor(config, tmp_path / "store")(job).result.clips) == 3


def test_a_lasting_rejection_is_not_looked_at_again(config, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("not a video")
    build_store([str(tmp_path / "videos")], str(tmp_path / "store"), config, threads=1)
    again = build_store([str(tmp_path / "videos")], str(tmp_path / "store"), config, threads=1)
    assert again.done_before == 1 and [one.reason for one in again.store.rejected] == ["unreadable"]


def test_the_store_does_not_depend_on_the_names_of_folders_or_networks(videos, config, tmp_path):
    """Clips depend on contents only: of the videos, and of the networks."""
    build_store([str(videos)], str(tmp_path / "store"), config, threads=1)
    shutil.move(videos, tmp_path / "moved")
    shutil.move(tmp_path / "networks", tmp_path / "nets")
    named = [f"preprocess.pose.{role}={tmp_path / 'nets' / role}.onnx" for role in ("detector", "pose", "feet")]
    again = build_store([str(tmp_path / "moved")], str(tmp_path / "store"), small_config(*SETTINGS, *named), threads=1)
    assert again.done_before == 1
