"""The journal of a store: notes are complete or absent, and unneeded ones are removed."""

import dataclasses

import numpy as np
import pytest

from hia.data.store.journal import MOST_ATTEMPTS, Journal
from hia.data.store.records import ClipInfo, Rejected, Rejection, VideoResult
from hia.io.files import Folder
from hia.io.hashing import bytes_sha256
from hia.pose.tracking import PersonTrack

STRETCH, NEXT = range(0, 40), range(40, 75)
REJECTION = Rejection(video="a.mp4", reason="too_short", message='so it is: "sha256"', first_time=0.0, end_time=0.5)


@pytest.fixture
def journal(tmp_path):
    return Journal(Folder(tmp_path))


def write_clip(journal, name, content=b"frames"):
    """Write a clip's file, and return its entry."""
    file = f"clips/{name[:2]}/{name}.safetensors"
    journal.folder.write(file, content)
    numbers = {"first_frame": 0, "end_frame": 40, "first_time": 0.0, "num_frames": 40, "fps": 30.0}
    sizes = {"width": 32, "height": 48, "crop": (0, 0, 32, 48), "content": (0, 0, 32, 48), "upscale": 1.0}
    shares = {"hands_seen": 1.0, "face_seen": 1.0, "filled": 0.0, "sharpness": None, "speed": 0.5}
    return ClipInfo(
        id=name,
        file=file,
        bytes=len(content),
        sha256=bytes_sha256(content),
        video="a.mp4",
        split="train",
        keypoint_source="estimated",
        **numbers,
        **sizes,
        **shares,
    )


def result_of(*clips, key="k"):
    return VideoResult(
        key=key, name="a.mp4", group="a.mp4", split=None, seconds=2.0, clips=clips, rejected=(REJECTION,)
    )


def test_what_became_of_a_stretch_comes_back_as_it_was_noted(journal):
    clip = write_clip(journal, "c1")
    journal.note_part("k", STRETCH, clip)
    journal.note_part("k", NEXT, REJECTION)
    assert journal.part("k", STRETCH) == clip and journal.part("k", NEXT) == REJECTION
    assert journal.part("k", range(0, 41)) is None and journal.part("other", STRETCH) is None


@pytest.mark.parametrize("damage", ["missing", "shorter", "altered"])
def test_a_clip_whose_file_is_not_whole_was_never_made(journal, damage):
    clip = write_clip(journal, "c1")
    journal.note_part("k", STRETCH, clip)
    journal.finish(result := result_of(clip, key="done"))
    assert journal.part("k", STRETCH) == clip and journal.result("done") == result
    if damage == "missing":
        journal.folder.remove(clip.file)
    else:
        journal.folder.write(clip.file, b"frame" if damage == "shorter" else b"framez")
    assert journal.part("k", STRETCH) is None and journal.result("done") is None


def test_a_track_comes_back_as_it_was_and_a_damaged_one_does_not(journal):
    generator = np.random.default_rng(0)
    boxes = np.full((3, 4), np.nan, np.float32)
    track = PersonTrack(
        generator.random((3, 133, 2), np.float32), generator.random((3, 133), np.float32), boxes, boxes[:, 0]
    )
    journal.note_track("k", STRETCH, track)
    read = journal.track("k", STRETCH)
    for name in ("keypoints", "scores", "boxes", "others"):
        np.testing.assert_array_equal(getattr(read, name), getattr(track, name))
    assert journal.track("k", NEXT) is None
    [name] = journal.folder.names("work/k")
    journal.folder.write(f"work/k/{name}", journal.folder.read(f"work/k/{name}")[:100])
    assert journal.track("k", STRETCH) is None


def test_a_finished_video_leaves_nothing_but_its_result_and_clips(journal, tmp_path):
    clip = write_clip(journal, "c1")
    journal.begin_attempt("k")
    journal.note_part("k", STRETCH, clip)
    journal.finish(result := result_of(clip))
    assert journal.results() == [result] and journal.result("k") == result
    assert journal.folder.names("work/k") == []
    journal.forget("k")
    assert journal.results() == [] and journal.folder.exists(clip.file)


def test_a_video_that_ends_its_workers_is_set_aside_once_and_tried_again_later(journal):
    for _ in range(2):
        for _ in range(MOST_ATTEMPTS):
            journal.begin_attempt("k")
        with pytest.raises(Rejected, match="ended without a word 3 times") as error:
            journal.begin_attempt("k")
        assert error.value.reason == "crashed" and error.value.transient


@pytest.mark.parametrize("kind", ["part", "track", "end"])
def test_attempts_that_got_further_do_not_count(journal, kind):
    zeros = np.zeros((1, 4), np.float32)
    progress = {
        "part": lambda stretch: journal.note_part("k", stretch, REJECTION),
        "track": lambda stretch: journal.note_track("k", stretch, PersonTrack(zeros, zeros, zeros, zeros)),
        "end": lambda _: journal.forget_attempts("k"),
    }[kind]
    for attempt in range(3 * MOST_ATTEMPTS):
        journal.begin_attempt("k")
        progress(range(attempt, attempt + 1))


def test_only_clips_that_something_refers_to_are_kept(journal):
    listed, begun, orphan = (write_clip(journal, name) for name in ("a1", "b1", "c1"))
    journal.note_part("unfinished", STRETCH, begun)
    journal.remove_unused({listed.file})
    assert [journal.folder.exists(clip.file) for clip in (listed, begun, orphan)] == [True, True, False]
    assert journal.part("unfinished", STRETCH) == begun


def test_work_that_a_kill_left_behind_after_the_end_is_removed(journal, tmp_path):
    clip, part = write_clip(journal, "a1"), write_clip(journal, "b1")
    journal.note_part("k", STRETCH, part)
    journal.begin_attempt("k")
    journal.begin_attempt("unfinished")
    # The first step of `finish`, which was killed before it removed the work.
    journal.folder.write("videos/k.json", b"{}")
    journal.remove_unused({clip.file})
    assert journal.folder.exists(clip.file) and not journal.folder.exists(part.file)
    assert journal.folder.names("work") == ["unfinished"]
    journal.folder.remove("work/unfinished")
    journal.remove_unused({clip.file})
    assert not (tmp_path / "work").exists()


def test_a_damaged_result_is_named(journal):
    journal.finish(result_of())
    journal.folder.write("videos/k.json", b'{"key": 5}')
    with pytest.raises(ValueError, match=r"videos/k\.json is damaged: "):
        journal.result("k")


def test_a_result_under_another_name_is_another_record(journal):
    journal.finish(result_of())
    journal.finish(renamed := dataclasses.replace(result_of(), name="b.mp4"))
    assert journal.results() == [renamed]
