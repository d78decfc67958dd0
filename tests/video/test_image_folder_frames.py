"""Frames of a video by their index, and folders of images as videos."""

import numpy as np
import pytest
from PIL import Image

from hia.video import VideoError, frames_at, iterate, probe, read_frames, write_video
from tests.conftest import present


def shades(num_frames):
    """Frames that differ in their brightness."""
    return [np.full((48, 64, 3), 8 * number + 8, np.uint8) for number in range(num_frames)]


def shade(image):
    return round((float(image.mean()) - 8) / 8)


def reason(path, read=lambda path: list(iterate(path))):
    with pytest.raises(VideoError) as caught:
        read(path)
    return caught.value.reason


def test_frames_are_found_by_their_index_and_repeat(sample_data):
    name, *_ = present(sample_data, "walk_woman_park", "gesture_woman_bench")
    path = sample_data / "clips" / f"{name}.mp4"
    everything = list(read_frames(path))
    indices = [0, 0, 3, 4, 40, 40, 40, 63]
    for index, image in zip(indices, frames_at(path, indices), strict=True):
        assert np.array_equal(image, everything[index])


def test_nothing_is_decoded_before_it_is_asked_for_nor_after_the_last(tmp_path):
    """The end of the file is damaged: only reading that far meets it."""
    path = tmp_path / "clip.mp4"
    frames = np.random.default_rng(3).integers(0, 255, (50, 48, 64, 3), dtype=np.uint8)
    write_video(path, frames, 25)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    asked = []

    def indices():
        for index in (2, 5, 49):
            asked.append(index)
            yield index

    frames = frames_at(path, indices())
    assert asked == []
    next(frames), next(frames)
    assert asked == [2, 5]
    with pytest.raises(VideoError, match="decoding failed"):
        next(frames)


def test_frames_that_cannot_be_given_are_refused(tmp_path):
    write_video(tmp_path / "clip.mp4", shades(5), 25)
    with pytest.raises(ValueError, match="no frame 5, the video has 5"):
        list(frames_at(tmp_path / "clip.mp4", [4, 5]))
    with pytest.raises(ValueError, match="rising order"):
        list(frames_at(tmp_path / "clip.mp4", [3, 2]))
    with pytest.raises(ValueError, match="rising order"):
        list(frames_at(tmp_path / "clip.mp4", [-1]))


def image_folder(folder, count, suffix="png"):
    folder.mkdir()
    for number, frame in enumerate(shades(count), start=1):
        Image.fromarray(frame).save(folder / f"{number}.{suffix}")
    return folder


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG"])
def test_a_folder_of_images_is_a_video_in_natural_order(tmp_path, suffix):
    folder = image_folder(tmp_path / "frames", 12, suffix)
    (folder / "notes.txt").touch()
    (folder / ".0.png").write_bytes(b"hidden")
    frames = list(iterate(folder, fps=24))
    assert [shade(frame.image) for frame in frames] == [frame.index for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 24)
    assert probe(folder).fps == 30 and probe(folder, 24).num_frames == 12
    assert [shade(image) for image in frames_at(folder, [1, 10])] == [1, 10]


def test_a_folder_names_the_frame_that_is_wrong(tmp_path):
    folder = image_folder(tmp_path / "frames", 5)
    Image.new("RGB", (32, 32)).save(folder / "3.png")
    assert reason(folder) == "decoding_failed"
    with pytest.raises(VideoError, match=r"3\.png is 32×32 px, unlike 64×48 px"):
        probe(folder)
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"frame 2: .*3\.png: not a readable image"):
        list(iterate(folder))
    assert [shade(image) for image in frames_at(folder, [0, 1])] == [0, 1]
    with pytest.raises(ValueError, match="fps must be a positive number, not 0"):
        list(iterate(folder, fps=0))


def test_a_folder_without_images_is_no_video(tmp_path):
    assert reason(tmp_path) == "no_video"
