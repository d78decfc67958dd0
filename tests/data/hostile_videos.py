"""Videos of every kind that users have, good and bad, each with its expected result."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from hia.pose.keypoint_files import save_keypoints
from hia.video import write_video
from tests.data.raw_videos import background, centres, frames_of, people_at, write_dance
from tests.pose.tiny_onnx import OTHER, draw_person

FRAMES = 40


@dataclass(frozen=True)
class Case:
    """A file to be made, and its expected result: a number of clips, or the reasons of its rejections."""

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
    """A video without its index, which comes last: as left by a camera with an empty battery."""
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
    """A person of this size who does not move."""
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
