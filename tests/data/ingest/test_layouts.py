"""Published datasets are recognised by their layout."""

import fsspec
import pytest
from PIL import Image

from hia.data.ingest.layouts import find_videos_in_layout
from hia.video import frames_at, probe


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def tiktok(folder, *numbers, frames=3):
    for number in numbers:
        for part in ("images", "masks", "densepose"):
            (folder / number / part).mkdir(parents=True)
            for frame in range(1, frames + 1):
                colour = (10 * frame, 0, 0) if part == "images" else "white"
                Image.new("RGB", (8, 16), colour).save(folder / number / part / f"{frame:04}.png")
    return folder


def flat(folder, *numbers):
    return touch(folder, *(f"{number}/{frame:04}.png" for number in numbers for frame in (1, 2)))


def by_name(found):
    return {source.name: source for source in found.sources}


@pytest.mark.parametrize("layout", ["auto", "tiktok"])
def test_tiktok_is_a_video_for_each_number_and_masks_are_no_frames(tmp_path, layout):
    tiktok(tmp_path / "TikTok_dataset", "00001", "00002")
    found = find_videos_in_layout([str(tmp_path / "TikTok_dataset")], layout)
    assert list(by_name(found)) == ["00001", "00002"]
    source = by_name(found)["00002"]
    assert (source.location, source.fps) == (str(tmp_path / "TikTok_dataset/00002/images"), 30)
    assert probe(source.location).num_frames == 3
    assert next(frames_at(source.location, [1]))[0, 0].tolist() == [20, 0, 0]
    assert found.ignored == {".png": 12} and found.problems == ()


def test_tiktok_is_recognised_from_above_and_from_within(tmp_path):
    tiktok(tmp_path / "data" / "TikTok_dataset", "00001")
    assert list(by_name(find_videos_in_layout([str(tmp_path / "data")]))) == ["TikTok_dataset/00001"]
    [source] = find_videos_in_layout([str(tmp_path / "data/TikTok_dataset/00001")]).sources
    assert (source.name, source.location) == ("00001", str(tmp_path / "data/TikTok_dataset/00001/images"))


@pytest.mark.parametrize("layout", ["auto", "tiktok"])
def test_flat_tiktok_folders_are_videos_too(tmp_path, layout):
    found = find_videos_in_layout([str(flat(tmp_path, "00001", "00010"))], layout)
    assert {name: source.location for name, source in by_name(found).items()} == {
        "00001": str(tmp_path / "00001"),
        "00010": str(tmp_path / "00010"),
    }


def test_keypoints_of_frame_folders_are_named_after_the_number(tmp_path):
    touch(tiktok(tmp_path / "data", "00001", "00002"), "00001.npz", "../keypoints/00002.npz")
    sidecars = {
        name: source.sidecar for name, source in by_name(find_videos_in_layout([str(tmp_path / "data")])).items()
    }
    assert sidecars == {
        "00001": str(tmp_path / "data/00001.npz"),
        "00002": str(tmp_path / "keypoints/00002.npz"),
    }


def test_a_number_with_masks_only_is_reported(tmp_path):
    touch(tiktok(tmp_path, "00001"), "00002/masks/0001.png", "00002/densepose/0001.png")
    found = find_videos_in_layout([str(tmp_path)])
    assert list(by_name(found)) == ["00001"]
    assert [(name, reason) for name, reason, _ in found.problems] == [("00002", "no_frames")]


def test_pictures_that_are_no_frames_make_no_video(tmp_path):
    touch(tmp_path, "clip.mp4", "images/photo.png", "previews/0001.png", "2024/holiday.jpg", "art/masks/a.png")
    found = find_videos_in_layout([str(tmp_path)])
    assert list(by_name(found)) == ["clip.mp4"] and found.problems == ()


def test_folders_of_images_without_number_are_taken_when_tiktok_is_asked_for(tmp_path):
    touch(tmp_path, "dance/images/a1.png", "dance/images/a2.png", "clip.mp4")
    assert list(by_name(find_videos_in_layout([str(tmp_path)], "tiktok"))) == ["dance"]


def test_remote_tiktok_is_recognised(tmp_path):
    files = fsspec.filesystem("memory")
    files.store.clear()
    for part in ("images", "masks"):
        files.pipe(f"/tiktok/00007/{part}/0001.png", b"")
    [source] = find_videos_in_layout(["memory://tiktok"]).sources
    assert (source.name, source.location, source.fps) == ("00007", "memory://tiktok/00007/images", 30)


@pytest.mark.parametrize("layout", ["auto", "ubc"])
def test_ubc_splits_come_from_folders(tmp_path, layout):
    touch(tmp_path, "train/a.mp4", "train/b.mp4", "test/c.mp4", "extra/d.mp4")
    splits = {name: source.split for name, source in by_name(find_videos_in_layout([str(tmp_path)], layout)).items()}
    assert splits == {"train/a.mp4": "train", "train/b.mp4": "train", "test/c.mp4": "test", "extra/d.mp4": None}


@pytest.mark.parametrize("layout", ["auto", "ubc"])
def test_ubc_splits_come_from_lists_of_addresses_or_names(tmp_path, layout):
    touch(tmp_path, "a+1.mp4", "b%2B.mp4", "sub/c.mp4", "d.mp4")
    (tmp_path / "fashion_train.txt").write_text("https://example.org/x/a%2B1.mp4\nc\n")
    (tmp_path / "fashion_test.txt").write_text("b%2B.mp4\nhttps://example.org/gone.mp4\n")
    found = find_videos_in_layout([str(tmp_path)], layout)
    splits = {name: source.split for name, source in by_name(found).items()}
    assert splits == {"a+1.mp4": "train", "b%2B.mp4": "test", "sub/c.mp4": "train", "d.mp4": None}
    assert [(name, reason) for name, reason, _ in found.problems] == [("gone", "missing")]


def test_ubc_lists_can_be_the_inputs_themselves(tmp_path):
    (tmp_path / "fashion_train.txt").write_text("memory://x/a%2B1.mp4\nmemory://b.mp4\n")
    (tmp_path / "fashion_test.txt").write_text("memory://c.mp4\n")
    found = find_videos_in_layout([str(tmp_path / "fashion_train.txt"), str(tmp_path / "fashion_test.txt")])
    splits = {source.location.rsplit("/", 1)[1]: source.split for source in found.sources}
    assert splits == {"a%2B1.mp4": "train", "b.mp4": "train", "c.mp4": "test"} and found.problems == ()


def test_a_video_listed_for_training_and_testing_is_refused(tmp_path):
    touch(tmp_path, "a.mp4")
    for name in ("fashion_train.txt", "fashion_test.txt"):
        (tmp_path / name).write_text("a.mp4\n")
    with pytest.raises(ValueError, match="a is listed for training and for testing"):
        find_videos_in_layout([str(tmp_path)])


def test_a_folder_named_train_alone_is_no_split(tmp_path):
    touch(tmp_path, "train/locomotive.mp4", "plane/a.mp4")
    assert [source.split for source in find_videos_in_layout([str(tmp_path)]).sources] == [None, None]
    assert by_name(find_videos_in_layout([str(tmp_path)], "ubc"))["train/locomotive.mp4"].split == "train"


def test_plain_takes_video_files_only_and_no_split(tmp_path):
    touch(tiktok(tmp_path, "00001"), "train/a.mp4", "test/b.mp4")
    found = find_videos_in_layout([str(tmp_path)], "plain")
    assert {name: source.split for name, source in by_name(found).items()} == {"train/a.mp4": None, "test/b.mp4": None}


def test_different_layouts_can_lie_beside_each_other(tmp_path):
    tiktok(tmp_path / "tiktok", "00001")
    touch(tmp_path / "ubc", "train/a.mp4", "test/b.mp4")
    touch(tmp_path / "own", "00001", "clip.mp4")
    found = find_videos_in_layout([str(tmp_path / name) for name in ("tiktok", "ubc", "own")])
    assert list(by_name(found)) == ["00001", "clip.mp4", "test/b.mp4", "train/a.mp4"]


@pytest.mark.parametrize(("layout", "message"), [("tiktok", "no folder of frames in"), ("ubc", "no UBC Fashion split")])
def test_a_layout_that_is_not_there_is_refused(tmp_path, layout, message):
    touch(tmp_path, "clip.mp4")
    with pytest.raises(ValueError, match=message):
        find_videos_in_layout([str(tmp_path)], layout)
