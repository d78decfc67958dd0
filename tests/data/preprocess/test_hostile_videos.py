"""Every video of a folder ends in the manifest or, with a reason, among the rejections; none harms the others."""

import subprocess
import sys

import pytest

from hia.data.preprocess.build_store import build_store
from hia.data.store.clip_store import open_store
from tests.conftest import REPOSITORY
from tests.data.hostile_videos import CASES, Case
from tests.data.raw_videos import small_config, write_dance, write_networks


def case_id(case: Case) -> str:
    return case.name.strip().replace("\n", " ")[:30]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All cases in one folder, beside a good video, preprocessed once."""
    folder = tmp_path_factory.mktemp("hostile")
    videos = folder / "videos"
    videos.mkdir()
    write_dance(videos / "good.mp4", seed=5)
    for case in CASES:
        case.make(videos / case.name)
    config = small_config(*write_networks(folder / "networks"), "preprocess.face_seen=0.3")
    build_store([str(videos)], str(folder / "store"), config)
    return open_store(folder / "store")


def of(records, name):
    shown = {name, name.replace("\n", "\\n"), name.replace("\n", "?")}
    return [record for record in records if record.video in shown or record.video.split("/")[0] in shown]


def test_the_table_is_long_enough():
    assert sum(bool(case.reasons) for case in CASES) >= 25


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_each_video_ends_in_the_manifest_or_among_the_rejected(built, case):
    rejected = of(built.rejected, case.name)
    assert tuple(sorted(one.reason for one in rejected)) == case.reasons, [one.message for one in rejected]
    assert len(of(built.clips, case.name)) == case.clips
    assert all(len(one.message) > 10 for one in rejected)


def test_the_good_video_is_untouched_by_the_others(built, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    write_dance(alone / "good.mp4", seed=5)
    config = small_config("preprocess.face_seen=0.3")
    single = build_store([str(alone)], str(tmp_path / "store"), config).store
    [ours], [theirs] = single.clips, of(built.clips, "good.mp4")
    assert single.folder.read(ours.file)[200:] == built.folder.read(theirs.file)[200:]


def test_a_rejected_part_says_where_it_is(built):
    [one] = of(built.rejected, "cut_in_the_middle.mp4")
    assert (one.first_time, one.end_time) == (0.0, 0.5)


def test_every_reason_is_counted(built):
    counts = built.statistics["rejected"]
    assert sum(counts.values()) == len(built.rejected)


WRITING_FAILS = """
import resource, sys
from hia.data.preprocess.build_store import build_store
from tests.data.raw_videos import small_config
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
build_store([sys.argv[1]], sys.argv[2], small_config())
"""


def test_a_clip_that_cannot_be_written_is_rejected_and_made_by_a_later_run(tmp_path):
    """The system refuses files above a size, like a full disk: only the clip of the long video is that large."""
    videos = tmp_path / "videos"
    videos.mkdir()
    write_dance(videos / "short.mp4", num_frames=30)
    write_dance(videos / "long.mp4", num_frames=120)
    whole = build_store([str(videos)], str(tmp_path / "whole"), small_config()).store
    short, long = (of(whole.clips, name)[0].bytes for name in ("short.mp4", "long.mp4"))
    arguments = [str(videos), str(tmp_path / "store"), str((short + long) // 2)]
    subprocess.run([sys.executable, "-c", WRITING_FAILS, *arguments], check=True, cwd=REPOSITORY)
    store = open_store(tmp_path / "store")
    assert [clip.video for clip in store.clips] == ["short.mp4"]
    assert [(one.video, one.reason) for one in store.rejected] == [("long.mp4", "write_failed")]
    assert "File too large" in store.rejected[0].message
    again = build_store([str(videos)], str(tmp_path / "store"), small_config())
    assert again.done_before == 1 and not again.retriable
    assert again.store.clips == whole.clips
