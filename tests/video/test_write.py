"""Video files: read truthfully, written whole or not at all."""

import numpy as np
import pytest
import yaml

from hia.video import VideoWriter, probe, read_frames, write_video
from tests.conftest import is_shipped, present


def moving_square(num_frames, width=64, height=48):
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = (40, 90, 160)
        frame[10:30, number : number + 20] = (220, 180, 30)
    return frames


@pytest.mark.parametrize("fps", [8, 24, 25, 29.97, 30, 60])
def test_size_rate_and_length_return(tmp_path, fps):
    write_video(tmp_path / "clip.mp4", moving_square(7), fps)
    info = probe(tmp_path / "clip.mp4")
    assert (info.width, info.height, info.num_frames) == (64, 48, 7)
    assert info.fps == pytest.approx(fps, abs=1e-3)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    """Also at a size at which x264's defaults do not."""
    frames = np.random.default_rng(0).integers(0, 255, (24, 112, 192, 3), dtype=np.uint8)
    clutter, written = [], set()
    for round_ in range(12):
        clutter.append(np.full(100_000 * round_ + 1, round_, np.uint8))
        write_video(tmp_path / "clip.mp4", frames, 25)
        written.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written) == 1


def test_colours_return(tmp_path):
    frames = moving_square(5)
    write_video(tmp_path / "clip.mp4", frames, 25)
    back = np.stack(list(read_frames(tmp_path / "clip.mp4")))
    inside = np.s_[:, 14:26, 8:16]
    assert np.abs(back[inside].astype(int) - frames[inside]).max() < 12
    assert np.abs(back.astype(int) - frames).mean() < 4


def test_real_clips_have_the_length_the_manifest_says(sample_data):
    listed = yaml.safe_load((sample_data / "manifest.yaml").read_text())["clips"]
    frames = {clip["file"]: clip["frames"] for clip in listed}
    assert is_shipped(sample_data) or frames["clips/walk_woman_park.mp4"] == 64
    assert len(listed) >= 2
    for clip in listed:
        assert probe(sample_data / clip["file"]).num_frames == clip["frames"], clip["file"]


def test_an_interrupted_writer_leaves_nothing_and_keeps_an_older_file(tmp_path):
    file = tmp_path / "clip.mp4"
    write_video(file, moving_square(3), 25)
    before = file.read_bytes()
    with pytest.raises(RuntimeError, match="stopped"), VideoWriter(file, 25) as writer:
        writer.write(moving_square(1)[0])
        raise RuntimeError("stopped")
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_no_frame_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="no frame was written"):
        write_video(tmp_path / "clip.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        VideoWriter(tmp_path / "absent" / "clip.mp4", 25)
    with pytest.raises(ValueError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "clip.avi", 25)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="a folder"):
        VideoWriter(tmp_path / "folder.mp4", 25)
    (tmp_path / "folder.mp4").rmdir()
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "clip.mp4", 0)
    with pytest.raises(ValueError, match="even sides, not 63×48"):
        write_video(tmp_path / "clip.mp4", moving_square(2)[:, :, 1:], 25)
    with pytest.raises(ValueError, match="frame 1 is 32×48"):
        write_video(tmp_path / "clip.mp4", [moving_square(1)[0], moving_square(1, 32)[0]], 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"text" * 1000, "not a readable video"), (None, "no such video")]
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    for read in (probe, lambda path: list(read_frames(path))):
        with pytest.raises((ValueError, FileNotFoundError), match=reason):
            read(tmp_path / "clip.mp4")


def test_a_truncated_video_is_refused(sample_data, tmp_path):
    name, *_ = present(sample_data, "walk_woman_park", "gesture_woman_bench")
    whole = (sample_data / "clips" / f"{name}.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        probe(tmp_path / "cut.mp4")
