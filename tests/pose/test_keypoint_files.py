"""Sequences of keypoints and their files."""

import dataclasses
import zipfile

import cv2
import numpy as np
import pytest

from hia.pose.keypoint_files import load_keypoints, save_keypoints
from hia.pose.keypoints import NUM_KEYPOINTS, KeypointSequence
from tests.conftest import is_shipped


def values(frames=3, **changes):
    rng = np.random.default_rng(0)
    made = {
        "keypoints": rng.uniform(0, 500, (frames, NUM_KEYPOINTS, 2)).astype(np.float32),
        "scores": rng.random((frames, NUM_KEYPOINTS), dtype=np.float32),
        **{"width": 512, "height": 896, "fps": 29.97},
    }
    return {**made, **changes}


def test_sequence_is_float32_and_counts_frames():
    sequence = KeypointSequence(**values(keypoints=np.ones((3, 133, 2), int)))
    assert sequence.keypoints.dtype == sequence.scores.dtype == np.float32
    assert len(sequence) == 3


def test_sequence_is_read_only_and_apart_from_its_source():
    source = values()
    sequence = KeypointSequence(**source)
    source["keypoints"][:] = 7
    assert not (sequence.keypoints == 7).any()
    with pytest.raises(ValueError, match="read-only"):
        sequence.keypoints[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        sequence.width = 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": np.zeros((3, 17, 2))}, r"\[frames, 133, 2\].*\[3, 17, 2\]"),
        ({"keypoints": np.zeros((133, 2))}, r"\[133, 2\]"),
        ({"keypoints": np.zeros((3, 133, 3))}, r"\[3, 133, 3\]"),
        ({"keypoints": [["a"]]}, "numbers"),
        ({"keypoints": np.zeros((0, 133, 2)), "scores": np.zeros((0, 133))}, "no frames"),
        ({"scores": np.zeros((2, 133))}, r"scores must be \[3, 133\]"),
        ({"scores": np.full((3, 133), np.nan)}, "scores must be finite: frame 0"),
        ({"keypoints": np.full((3, 133, 2), 1e300)}, "finite"),
        ({"width": 0}, "width"),
        ({"width": 512.5}, "width must be a positive whole number, not 512.5"),
        ({"height": -896}, "height"),
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": float("inf")}, "fps"),
    ],
)
def test_sequence_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        KeypointSequence(**values(**changes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_sequence_names_the_first_bad_frame(bad):
    keypoints = values(frames=5)["keypoints"]
    keypoints[3, 40, 1] = keypoints[4, 2, 0] = bad
    with pytest.raises(ValueError, match="frame 3, keypoint 40"):
        KeypointSequence(**values(frames=5, keypoints=keypoints))


def test_points_that_were_not_seen_must_be_finite_too():
    keypoints, scores = values()["keypoints"], values()["scores"]
    keypoints[1, 9], scores[1, 9] = np.nan, 0
    with pytest.raises(ValueError, match="frame 1, keypoint 9"):
        KeypointSequence(**values(keypoints=keypoints, scores=scores))


def test_resized_points_stay_on_what_they_marked():
    """A bright spot in an image that is scaled to cover and cropped in the centre is found where its point went."""
    source_width, source_height, width, height = 480, 640, 512, 896
    image = np.zeros((source_height, source_width), np.float32)
    image[300, 200] = 1
    image = cv2.GaussianBlur(image, (0, 0), 6)
    scaled = cv2.resize(image, (672, 896), interpolation=cv2.INTER_LINEAR)[:, 80:592]
    rows, columns = np.mgrid[:height, :width]
    spot = [(scaled * columns).sum() / scaled.sum(), (scaled * rows).sum() / scaled.sum()]
    keypoints = np.tile(np.float32([200, 300]), (1, 133, 1))
    sequence = KeypointSequence(keypoints, np.ones((1, 133)), source_width, source_height, 30)
    np.testing.assert_allclose(sequence.resized(width, height).keypoints[0, 0], spot, atol=0.01)


def test_resized_keeps_everything_else():
    sequence = KeypointSequence(**values())
    resized = sequence.resized(64, 112)
    assert (resized.width, resized.height, resized.fps) == (64, 112, sequence.fps)
    np.testing.assert_array_equal(resized.scores, sequence.scores)


def test_resized_to_the_same_size_is_the_same():
    sequence = KeypointSequence(**values())
    np.testing.assert_allclose(sequence.resized(512, 896).keypoints, sequence.keypoints, atol=1e-4)


def test_file_returns_what_was_saved(tmp_path):
    sequence = KeypointSequence(**values())
    save_keypoints(sequence, tmp_path / "clip.npz")
    loaded = load_keypoints(tmp_path / "clip.npz")
    np.testing.assert_array_equal(loaded.keypoints, sequence.keypoints)
    np.testing.assert_array_equal(loaded.scores, sequence.scores)
    assert (loaded.width, loaded.height, loaded.fps) == (512, 896, 29.97)


def test_saving_leaves_one_file_of_that_name(tmp_path):
    for _ in range(2):
        save_keypoints(KeypointSequence(**values()), tmp_path / "clip.keypoints")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.keypoints"]


def test_saving_does_not_disturb_a_reader_of_the_old_file(tmp_path):
    path = tmp_path / "clip.npz"
    save_keypoints(KeypointSequence(**values()), path)
    before = path.read_bytes()
    with open(path, "rb") as reader:
        save_keypoints(KeypointSequence(**values(frames=9)), path)
        assert reader.read() == before
    assert len(load_keypoints(path)) == 9


def test_failed_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "clip.npz"
    save_keypoints(KeypointSequence(**values()), path)
    before = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_keypoints(KeypointSequence(**values(width=5)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing"):
        save_keypoints(KeypointSequence(**values()), tmp_path / "missing" / "clip.npz")


def test_all_sample_files_load(sample_data):
    paths = [*(sample_data / "keypoints").glob("*.npz"), *sample_data.glob("rendered/*_gt.npz")]
    assert len(paths) >= (2 if is_shipped(sample_data) else 10)
    for path in paths:
        sequence = load_keypoints(path)
        with np.load(path) as archive:
            assert (sequence.width, sequence.height, sequence.fps) == tuple(
                archive[key].item() for key in ("width", "height", "fps")
            )
            np.testing.assert_array_equal(sequence.keypoints, archive["keypoints"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_keypoints(tmp_path / "nowhere.npz")


def empty(path):
    path.touch()


def text(path):
    path.write_text("these are no keypoints")


def truncated(path):
    save_keypoints(KeypointSequence(**values()), path)
    path.write_bytes(path.read_bytes()[:2000])


def damaged(path):
    save_keypoints(KeypointSequence(**values()), path)
    content = bytearray(path.read_bytes())
    content[500:600] = bytes(100)
    path.write_bytes(content)


def pickled_member(path):
    np.savez(path, **{**values(), "keypoints": np.array([{"a": 1}], dtype=object)})


def pickle(path):
    np.array([{"a": 1}], dtype=object).dump(path)


def single_array(path):
    with open(path, "wb") as file:
        np.save(file, values()["keypoints"])


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def other_keys(path):
    np.savez(path, points=np.zeros(3))


def no_fps(path):
    np.savez(path, **{key: value for key, value in values().items() if key != "fps"})


def vector_width(path):
    np.savez(path, **values(width=np.array([512, 896])))


def not_finite(path):
    np.savez(path, **values(keypoints=np.full((3, 133, 2), np.nan)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *((empty, "0 bytes"), (text, "cannot be read"), (truncated, "cannot be read"), (damaged, "cannot be read")),
        *((pickled_member, "cannot be read"), (pickle, "cannot be read"), (single_array, "single array")),
        *((other_zip, "lacks keypoints"), (other_keys, "lacks keypoints, scores"), (no_fps, "lacks fps")),
        *((vector_width, "width must be one number"), (not_finite, "frame 0, keypoint 0")),
    ],
)
def test_bad_file_is_named_with_the_reason(tmp_path, make, message):
    path = tmp_path / "clip.npz"
    make(path)
    with pytest.raises(ValueError, match=rf"clip\.npz.*{message}"):
        load_keypoints(path)
