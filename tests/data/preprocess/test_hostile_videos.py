"""Every video of a folder ends in the manifest or, with its reason, among the rejected; none harms the others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from hia.data.preprocess.build_store import build_store
from hia.data.store.clip_store import open_store
from hia.pose.keypoint_files import save_keypoints
from hia.video import write_video
from tests.conftest import REPOSITORY
from tests.data.raw_videos import (
    background,
    centres,
    frames_of,
    people_at,
    small_config,
    write_dance,
    write_networks,
)
from tests.pose.tiny_onnx import OTHER, draw_person

FRAMES = 40


@dataclass(frozen=True)
class Case:
    """A file to be made, and what must become of it: so many clips, or these reasons of its rejections."""

    name: str
    make: Callable[[Path], object]
    clips: int = 0
    reasons: tuple[str, ...] = ()


def dance_bytes(folder: Path, **options) -> bytes:
    """The content of a good video, without its sidecar."""
    path = write_dance(folder / "made.mp4", sidecar=False, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def encode(path: Path, frames, fps=30, codec="libx264", pix_fmt="yuv420p", stamps=None, prepare=lambda stream: None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        prepare(stream)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            picture.pts = number if stamps is None else stamps[number]
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    save_keypoints(people_at(centres(len(frames)), fps=fps), path.with_suffix(".npz"))


def dance(num_frames=FRAMES):
    return frames_of(centres(num_frames), background())


def truncated_in_the_middle(path):
    content = dance_bytes(path.parent)  # its index is at the front
    path.write_bytes(content[: len(content) * 2 // 3])


def without_index(path):
    """As a camera leaves it whose battery died: the index would have come last."""
    encode(path, dance())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def gif_header(width, height):
    """A GIF that claims a size, with one frame of that size and no data."""
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return (
        b"GIF89a" + size + b"\x80\x00\x00\x00\x00\x00\xff\xff\xff" + b"," + bytes(4) + size + b"\x00\x02\x02D\x01\x00;"
    )


def two_people(path):
    middles = centres(FRAMES)
    first = frames_of(middles - (22, 0), background())
    both = [
        draw_person(frame, (x + 4, y - 40, x + 42, y + 40), OTHER) for frame, (x, y) in zip(first, middles, strict=True)
    ]
    write_video(path, both, 30)


def one_small_behind(path):
    middles = centres(FRAMES)
    write_video(path, [draw_person(frame, (2, 50, 10, 66), OTHER) for frame in frames_of(middles, background())], 30)


def two_shots(path, first, second):
    middles = centres(first + second)
    frames = frames_of(middles[:first], background(1) // 4) + frames_of(middles[first:], 255 - background(2) // 4)
    write_video(path, frames, 30)
    save_keypoints(people_at(middles), path.with_suffix(".npz"))


def with_sidecar(path, change):
    """A good video whose keypoints are changed."""
    write_dance(path)
    save_keypoints(change(people_at(centres(FRAMES))), path.with_suffix(".npz"))


def with_sidecar_bytes(path, content, suffix=".npz"):
    write_dance(path, sidecar=False)
    path.with_suffix(suffix).write_bytes(content)


def unseen(part, frames=slice(None)):
    def change(people):
        scores = people.scores.copy()
        scores[frames, part] = 0
        return replace(people, scores=scores)

    return change


def still(path, width, height, half):
    """Someone who does not move, of this size."""
    middles = np.tile([width / 2, height / 2], (FRAMES, 1))
    write_video(path, frames_of(middles, background(0, width, height), half=half), 30)
    save_keypoints(people_at(middles, width, height, half=half), path.with_suffix(".npz"))


def pickled(path):
    write_dance(path, sidecar=False)
    np.savez(path.with_suffix(".npz"), keypoints=np.array([{"a": 1}], dtype=object), allow_pickle=True)


def size_changes(path):
    parts = []
    for width in (96, 64):
        part = path.with_name(f"part{width}.h264")
        encode(part, [frame[:, :width] for frame in dance()])
        parts.append(part.read_bytes())
        part.unlink()
        part.with_suffix(".npz").unlink()
    path.write_bytes(b"".join(parts))


def frame_folder(path, damage):
    images = path / "images"
    images.mkdir(parents=True)
    for number, frame in enumerate(dance()):
        Image.fromarray(frame).save(images / f"{number:04d}.png")
    (path / "masks").mkdir()
    Image.new("L", (96, 128)).save(path / "masks" / "0000.png")
    if damage:
        (images / "0020.png").write_bytes(b"no picture")


def uneven(path):
    gaps = np.random.default_rng(0).choice([1, 2, 3], FRAMES)
    encode(path, dance(), stamps=np.cumsum(gaps).tolist())


def copy(path):
    shutil.copy(path.parent / "good.mp4", path)
    shutil.copy(path.parent / "good.npz", path.with_suffix(".npz"))


def transparent(path):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in dance()]
    encode(path, frames, codec="qtrle", pix_fmt="argb")


def turned(path):
    frames = [np.rot90(frame).copy() for frame in dance()]
    encode(path, frames, prepare=lambda stream: stream.set_display_rotation(270))


CASES = [
    Case("zero_bytes.mp4", lambda path: path.write_bytes(b""), reasons=("empty",)),
    Case("no_index.mp4", without_index, reasons=("unreadable",)),
    Case("cut_off.mp4", truncated_in_the_middle, reasons=("decoding_failed",)),
    Case("text.mp4", lambda path: path.write_text("not a video\n" * 50), reasons=("unreadable",)),
    Case("noise.mp4", lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), reasons=("unreadable",)),
    Case("sound.mp4", only_sound, reasons=("no_video",)),
    Case("one_frame.mp4", lambda path: write_dance(path, num_frames=1), reasons=("too_short",)),
    Case("blink.mp4", lambda path: write_dance(path, num_frames=12), reasons=("too_short",)),
    Case("nothing_by_nothing.gif", lambda path: path.write_bytes(gif_header(0, 0)), reasons=("unreadable",)),
    Case("20000_wide.gif", lambda path: path.write_bytes(gif_header(20000, 16)), reasons=("size",)),
    Case("5_fps.mp4", lambda path: write_dance(path, fps=5), reasons=("frame_rate_too_low",)),
    Case("120_fps.mp4", lambda path: write_dance(path, num_frames=160, fps=120), clips=1),
    Case("10_bit.mp4", lambda path: encode(path, dance(), pix_fmt="yuv420p10le"), clips=1),
    Case("uneven.mp4", uneven, clips=1),
    Case("size_changes.mp4", size_changes, reasons=("decoding_failed",)),
    Case("two_people.mp4", two_people, reasons=("several_people",)),
    Case("someone_far_behind.mp4", one_small_behind, clips=1),
    Case("nobody.mp4", lambda path: write_video(path, [background()] * FRAMES, 30), reasons=("nobody",)),
    Case(
        "gone_for_half.mp4",
        lambda path: with_sidecar(path, unseen(slice(None), slice(0, 20))),
        reasons=("person_missing",),
    ),
    Case("far_away.mp4", lambda path: still(path, 96, 128, (3, 5)), reasons=("too_small",)),
    Case("wide.mp4", lambda path: still(path, 320, 64, (150, 28)), reasons=("too_much_padding",)),
    Case("hands_unseen.mp4", lambda path: with_sidecar(path, unseen(slice(91, 133))), reasons=("hands_not_seen",)),
    Case("face_unseen.mp4", lambda path: with_sidecar(path, unseen(slice(23, 91))), reasons=("face_not_seen",)),
    Case("cut_between_clips.mp4", lambda path: two_shots(path, 40, 45), clips=2),
    Case("cut_in_the_middle.mp4", lambda path: two_shots(path, 15, 40), clips=1, reasons=("too_short",)),
    Case(
        "sidecar_too_short.mp4",
        lambda path: with_sidecar(path, lambda people: people_at(centres(30))),
        reasons=("sidecar",),
    ),
    Case(
        "sidecar_of_another_shape.mp4",
        lambda path: with_sidecar(path, lambda people: replace(people, width=128, height=96)),
        reasons=("sidecar",),
    ),
    Case("sidecar_damaged.mp4", lambda path: with_sidecar_bytes(path, b"PK\x03\x04 and no more"), reasons=("sidecar",)),
    Case("sidecar_pickled.mp4", pickled, reasons=("sidecar",)),
    Case("sidecar_no_json.mp4", lambda path: with_sidecar_bytes(path, b'{"people": [', ".json"), reasons=("sidecar",)),
    Case("a folder.mp4", lambda path: path.mkdir(), reasons=()),
    Case("pipe.mp4", lambda path: os.mkfifo(path), reasons=("not_a_file",)),
    Case("loop.mp4", lambda path: path.symlink_to(path.name), reasons=("symlink_loop",)),
    Case("dangling.mp4", lambda path: path.symlink_to("nowhere.mp4"), reasons=("broken_symlink",)),
    Case("circle", lambda path: path.symlink_to(path.parent), reasons=("symlink_loop",)),
    Case("the good one again.mp4", copy, reasons=("duplicate",)),
    Case("00001", lambda path: frame_folder(path, damage=False), clips=1),
    Case("00002", lambda path: frame_folder(path, damage=True), reasons=("decoding_failed",)),
    Case("  spaces 'quotes' \"double\" $(x) ; & ünïcödé 舞 \\.mp4", lambda path: write_dance(path, seed=7), clips=1),
    Case("new\nline.mp4", lambda path: write_dance(path, seed=8), clips=1),
    Case("transparent.mov", transparent, clips=1),
    Case("turned.mp4", turned, clips=1),
]


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
    """The system refuses files above a size, as a full disk would: the long video's clip, and no other."""
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
