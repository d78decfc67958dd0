"""Two folders of videos: matched by name with nothing left over, and read with clear errors."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hia.evaluation.protocol.folders import match_videos, read_pair
from hia.pose.keypoint_files import save_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import VideoError, write_video


def frames(num_frames: int = 4, width: int = 48, height: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), np.uint8)


def videos(folder: Path, *names: str, **size: int) -> Path:
    for name in names:
        if name.endswith(".mp4"):
            folder.mkdir(parents=True, exist_ok=True)
            write_video(folder / name, frames(**size), 25)
        else:
            images(folder / name, **size)
    return folder


def images(folder: Path, **size: int) -> Path:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames(**size)):
        Image.fromarray(frame).save(folder / f"{index}.png")
    return folder


def test_files_and_folders_of_images_are_matched_by_name_in_natural_order(tmp_path):
    made = videos(tmp_path / "made", "dance_10.mp4", "dance_9", "dance_1.mp4")
    true = videos(tmp_path / "true", "dance_9.mp4", "dance_10", "dance_1.mp4")
    (true / "notes.txt").write_text("not a video")
    (made / ".hidden.mp4").write_bytes(b"")
    matches = match_videos(made, true)
    assert [match.name for match in matches] == ["dance_1", "dance_9", "dance_10"]
    assert [match.generated.name for match in matches] == ["dance_1.mp4", "dance_9", "dance_10.mp4"]
    assert [match.real.name for match in matches] == ["dance_1.mp4", "dance_9.mp4", "dance_10"]


def test_two_folders_of_images_are_one_video_and_lose_nothing(tmp_path):
    (match,) = match_videos(images(tmp_path / "made"), images(tmp_path / "true"))
    pair = read_pair(match)
    assert pair.name == "made"
    np.testing.assert_array_equal(pair.generated, frames())
    np.testing.assert_array_equal(pair.real, frames())


def test_names_that_one_side_lacks_are_told_and_nothing_is_dropped(tmp_path):
    made = videos(tmp_path / "made", "a.mp4", "b.mp4")
    true = videos(tmp_path / "true", "a.mp4", "c.mp4", "d")
    with pytest.raises(ValueError) as error:
        match_videos(made, true)
    assert f"{made} lacks c, d" in str(error.value) and f"{true} lacks b" in str(error.value)
    assert "they hold 2 and 3" in str(error.value)


def test_two_videos_of_one_name_are_refused(tmp_path):
    made = videos(tmp_path / "made", "a.mp4", "a")
    with pytest.raises(ValueError, match=r"a and a\.mp4 are two videos of one name|a\.mp4 and a are two videos"):
        match_videos(made, made)


def test_a_folder_of_both_images_and_videos_is_refused(tmp_path):
    made = images(tmp_path / "made")
    videos(made, "a.mp4")
    with pytest.raises(
        ValueError, match=r"holds images \(0\.png, …\) and videos \(a\.mp4, …\): is it one video or many"
    ):
        match_videos(made, made)


def test_folders_that_are_not_there_or_hold_no_videos_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no videos"):
        match_videos(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*gone"):
        match_videos(tmp_path / "gone", tmp_path / "empty")


@pytest.mark.parametrize("size", [{"num_frames": 5}, {"width": 32}])
def test_videos_of_unequal_length_or_size_are_refused_by_name(tmp_path, size):
    made, true = videos(tmp_path / "made", "a.mp4", **size), videos(tmp_path / "true", "a.mp4")
    (match,) = match_videos(made, true)
    with pytest.raises(ValueError, match="video a: frames of unequal number or size"):
        read_pair(match)


def test_a_broken_video_is_refused_with_its_file(tmp_path):
    made, true = videos(tmp_path / "made", "a.mp4", "b.mp4"), videos(tmp_path / "true", "a.mp4", "b.mp4")
    (made / "b.mp4").write_bytes((made / "b.mp4").read_bytes()[:300])
    with pytest.raises(VideoError, match=r"made/b\.mp4"):
        [read_pair(match) for match in match_videos(made, true)]


def test_frames_of_unequal_size_are_refused_with_their_file(tmp_path):
    made, true = images(tmp_path / "made"), images(tmp_path / "true")
    Image.fromarray(frames()[0, :40]).save(made / "2.png")
    with pytest.raises(VideoError, match=r"made/2\.png is 48×40 px, unlike 48×64 px before it"):
        read_pair(match_videos(made, true)[0])


def keypoints(width: int, height: int, num_frames: int = 4) -> KeypointSequence:
    places = np.random.default_rng(0).uniform(0, 1, (num_frames, 133, 2)) * (width, height)
    return KeypointSequence(places, np.ones((num_frames, 133)), width, height, 25)


def test_keypoints_beside_the_true_video_are_used_in_its_size(tmp_path):
    made, true = videos(tmp_path / "made", "a.mp4"), videos(tmp_path / "true", "a.mp4")
    assert read_pair(match_videos(made, true)[0]).keypoints is None
    save_keypoints(keypoints(96, 128), true / "a.npz")
    pair = read_pair(match_videos(made, true)[0])
    assert (pair.keypoints.width, pair.keypoints.height) == (48, 64) and len(pair.regions) == 4


def test_keypoints_of_another_shape_of_frame_are_refused_by_name(tmp_path):
    made, true = videos(tmp_path / "made", "a.mp4"), videos(tmp_path / "true", "a.mp4")
    save_keypoints(keypoints(100, 100), true / "a.npz")
    with pytest.raises(ValueError, match="video a: its keypoints are those of frames of 100×100 px, not 48×64"):
        read_pair(match_videos(made, true)[0])
