"""Splits are by video, stable, and follow the dataset or the list if there is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.data.ingest.splits import assign_split, assign_splits, read_list
from hia.data.ingest.videos import VideoSource


def video(name="sub/clip.one.mp4", **options):
    return VideoSource(name=name, location=f"/data/{name}", **options)


def test_the_datasets_own_split_comes_first():
    for split in ("train", "test"):
        assert assign_split(video(split=split), 0, 0.5, frozenset({"clip.one"})) == split


@pytest.mark.parametrize(
    "entry", ["sub/clip.one.mp4", "clip.one.mp4", "sub/clip.one", "clip.one", "/data/sub/clip.one.mp4"]
)
def test_a_list_names_videos_with_and_without_folder_and_suffix(entry):
    assert assign_split(video(), 0, 0.0, frozenset({entry})) == "test"


def test_what_a_list_does_not_name_is_for_training():
    assert assign_split(video(), 0, 1.0, frozenset({"clip", "one", "sub"})) == "train"


def test_a_list_may_name_a_group():
    assert assign_split(video(group="dancer 7"), 0, 0.0, frozenset({"dancer 7"})) == "test"


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**63))
def test_no_share_is_all_training_and_all_is_testing(name, seed):
    assert assign_split(video(name), seed, 0.0, None) == "train"
    assert assign_split(video(name), seed, 1.0, None) == "test"


def test_the_share_is_met_and_the_seed_changes_who():
    videos = [video(f"{number}.mp4") for number in range(4000)]
    drawn = [[assign_split(one, seed, 0.2, None) == "test" for one in videos] for seed in (0, 1)]
    assert [sum(tests) / 4000 for tests in drawn] == pytest.approx([0.2, 0.2], abs=0.03)
    both = sum(one and other for one, other in zip(*drawn, strict=True))
    assert both / 4000 == pytest.approx(0.04, abs=0.02)


def test_a_larger_share_takes_more_for_testing_and_gives_none_back():
    videos = [video(f"{number}.mp4") for number in range(500)]
    smaller, larger = (
        {one.name for one in videos if assign_split(one, 0, share, None) == "test"} for share in (0.1, 0.3)
    )
    assert smaller < larger


def test_a_group_stays_together():
    for group in map(str, range(50)):
        splits = {assign_split(video(f"{n}.mp4", group=group), 3, 0.5, None) for n in range(10)}
        assert len(splits) == 1


def test_the_draw_is_the_same_on_every_machine():
    """Fixed values, because they determine the test split of existing stores."""
    drawn = "".join(assign_split(video(f"{number}.mp4"), 0, 0.5, None)[1] for number in range(16))
    assert drawn == "rrrrreerreeeeerr"


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True), st.integers(0, 999))
def test_chance_never_takes_the_last_video_and_else_changes_nothing(names, seed):
    videos = [video(name) for name in names]
    alone = [assign_split(one, seed, 0.5, None) for one in videos]
    together = assign_splits(videos, seed, 0.5, None)
    assert "train" in together
    assert together == alone if "train" in alone else together.count("train") == 1


def test_the_videos_of_the_last_group_stay_together():
    videos = [video(f"{n}.mp4", group=group) for group in ("a", "b") for n in range(3)]
    splits = assign_splits(videos, 0, 0.999999, None)
    assert sorted(splits) == ["test"] * 3 + ["train"] * 3
    assert len(set(splits[:3])) == 1


def test_all_for_testing_is_followed_where_it_is_said():
    assert assign_splits([video("a"), video("b")], 0, 1.0, None) == ["test", "test"]
    assert assign_splits([video("a")], 0, 0.0, frozenset({"a"})) == ["test"]
    assert assign_splits([video("a", split="test")], 0, 0.5, None) == ["test"]


def test_an_impossible_share_is_refused():
    with pytest.raises(ValueError, match=r"test_share must lie in 0\.\.1, not 1\.5"):
        assign_split(video(), 0, 1.5, None)


def test_a_list_is_read_without_comments_and_blank_lines(tmp_path):
    (tmp_path / "test.txt").write_text("\ufeff# for testing\n\n one.mp4 \nsub/two\r\n", encoding="utf-8")
    assert read_list(str(tmp_path / "test.txt")) == {"one.mp4", "sub/two"}


def test_an_empty_or_absent_list_is_refused(tmp_path):
    (tmp_path / "test.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"test\.txt: the list has no names"):
        read_list(str(tmp_path / "test.txt"))
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        read_list(str(tmp_path / "absent.txt"))
