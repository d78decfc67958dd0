"""Outputs are identifiable: by a statement in their container, and a mark in their frames that survives compression."""

import re
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from hia.cli import main
from hia.evaluation.image import psnr
from hia.images import fit_to_size
from hia.serving.encoding import SOURCE_TYPE, encode_video, read_statement, statement, xmp
from hia.serving.watermark import ENOUGH, NUM_BITS, Watermark
from hia.video import VideoWriter, read_frames, write_video
from tests.conftest import present

CLIPS = (
    *("balance_man_lab", "desk_woman_doctor", "gesture_man_kitchen", "gesture_woman_bench"),
    *("juggle_man_park", "sign_woman_home", "talk_man_white_suit", "walk_woman_park"),
)
STATEMENT = statement("hia/3 sha256:0123", 7)


@pytest.fixture(scope="module")
def watermark() -> Watermark:
    return Watermark()


def frames_of(video: Path, width: int, height: int, count: int = 4) -> list[np.ndarray]:
    """Real frames, a third of a second apart."""
    return [fit_to_size(frame, width, height) for frame in islice(read_frames(video), 0, 10 * count, 10)]


def compressed(frames: list[np.ndarray], file: Path) -> list[np.ndarray]:
    """Frames after the compression that platforms apply to videos."""
    with VideoWriter(file, 25, crf=23) as writer:
        for frame in frames:
            writer.write(frame)
    return list(read_frames(file))


@pytest.fixture(scope="module")
def clip(sample_data) -> list[np.ndarray]:
    name, *_ = present(sample_data, "sign_woman_home", "gesture_woman_bench")
    return frames_of(sample_data / "clips" / f"{name}.mp4", 128, 224)


@pytest.fixture
def frames() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (3, 48, 32, 3), np.uint8))


@pytest.mark.parametrize("kind", ["mp4", "webp", "gif"])
def test_every_format_says_that_it_was_generated_and_by_which_model(kind, frames, tmp_path):
    file = tmp_path / f"video.{kind}"
    file.write_bytes(encode_video(frames, 10.0, kind, STATEMENT))
    assert read_statement(file) == STATEMENT == "AI-generated video, made with hia; model hia/3 sha256:0123; seed 7"


def test_webp_has_iptcs_word_for_generated_media():
    assert SOURCE_TYPE.encode() in xmp(STATEMENT) and b"a &lt; b" in xmp("a < b")


def test_a_video_of_others_says_nothing(frames, tmp_path):
    write_video(tmp_path / "plain.mp4", frames, 10)
    write_video(tmp_path / "other.mp4", frames, 10, {"comment": "our holidays"})
    assert read_statement(tmp_path / "plain.mp4") is None and read_statement(tmp_path / "other.mp4") is None


@pytest.mark.parametrize("name", ["broken.mp4", "broken.gif"])
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=re.escape(name)):
        read_statement(tmp_path / name)


@pytest.mark.parametrize(("width", "height", "least"), [(128, 224, 36), (256, 448, 37), (512, 896, 40)])
def test_the_mark_cannot_be_seen_and_is_the_same_each_time(watermark, sample_data, width, height, least):
    name, *_ = present(sample_data, "sign_woman_home", "gesture_woman_bench")
    (frame,) = frames_of(sample_data / "clips" / f"{name}.mp4", width, height, count=1)
    marked = watermark.embed(frame)
    assert least < psnr(frame[None], marked[None])[0] < 44
    np.testing.assert_array_equal(marked, watermark.embed(frame))


@pytest.mark.parametrize("name", CLIPS)
def test_the_mark_is_found_after_compression_and_in_no_real_clip(watermark, sample_data, tmp_path, name):
    frames = frames_of(sample_data / "clips" / f"{name}.mp4", 128, 224)
    marked = [watermark.embed(frame) for frame in frames]
    assert watermark.agreement(compressed(marked, tmp_path / "again.mp4")) >= ENOUGH
    assert watermark.agreement(frames) < ENOUGH - 4


def test_the_mark_of_a_large_frame_is_found_in_a_quarter_of_it(watermark, sample_data, tmp_path):
    name, *_ = present(sample_data, "juggle_man_park", "gesture_man_kitchen")
    (frame,) = frames_of(sample_data / "clips" / f"{name}.mp4", 512, 896, count=1)
    small = cv2.resize(watermark.embed(frame), (256, 448), interpolation=cv2.INTER_AREA)
    assert watermark.agreement(compressed([small], tmp_path / "small.mp4")) >= ENOUGH


@pytest.mark.parametrize(("width", "height"), [(32, 48), (36, 44), (100, 36)])
def test_frames_of_any_size_are_marked(watermark, width, height):
    frame = np.full((height, width, 3), 128, np.uint8)
    assert watermark.embed(frame).shape == frame.shape and watermark.agreement([frame]) <= NUM_BITS


def test_verify_tells_generated_videos_from_others(watermark, clip, tmp_path, capsys):
    generated, real = tmp_path / "generated.mp4", tmp_path / "real.mp4"
    generated.write_bytes(encode_video([watermark.embed(frame) for frame in clip[:3]], 25.0, "mp4", STATEMENT))
    write_video(real, clip[:3], 25)
    for file in (generated, real):
        assert main(["verify", str(file)]) == 0
    one, other = capsys.readouterr().out.split(f"{real}: ")
    assert "made with hia" in one and STATEMENT in one and "watermark: found" in one
    assert "no sign of hia" in other and "says nothing" in other and "watermark: not found" in other


def test_verify_names_a_file_that_is_missing(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none.mp4")]) == 2
    assert "no such file" in capsys.readouterr().err
