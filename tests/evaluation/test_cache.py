"""The cache of a video's results: loaded as saved, with its mark only, and never incomplete."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from hia.evaluation.metrics import Metrics, load_metrics
from hia.evaluation.protocol.cache import cached_directory, is_cached, load_scores, save_scores, settings_digest
from hia.evaluation.scores import ClipSampling, Features, Figure, MetricSettings, VideoScores


@pytest.fixture
def scores() -> VideoScores:
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    features = {
        "fd[i3d]": Features(rows, 2 * rows),
        "hand_sharpness": Features(rows[:, :1].astype(np.float64), rows[:, 1:2]),
    }
    return VideoScores("ä clip", 17, {"psnr": Figure(1 / 3, 17)}, features, {"fvd": "too short"})


def test_scores_come_back_to_the_last_bit(scores, tmp_path):
    save_scores(tmp_path / "scores.safetensors", scores, "mark")
    found = load_scores(tmp_path / "scores.safetensors", "mark")
    assert found is not None
    assert replace(found, features={}).__dict__ == replace(scores, features={}).__dict__
    assert list(found.features) == list(scores.features)
    for key, features in scores.features.items():
        for one, other in zip(features, found.features[key], strict=True):
            np.testing.assert_array_equal(one, other)


def test_scores_of_another_mark_and_damaged_ones_are_none(scores, tmp_path):
    file = tmp_path / "scores.safetensors"
    assert load_scores(file, "mark") is None
    save_scores(file, scores, "mark")
    assert load_scores(file, "other") is None and load_scores(file) is not None
    file.write_bytes(file.read_bytes()[:-5])
    assert load_scores(file, "mark") is None
    file.write_bytes(b"")
    assert load_scores(file, "mark") is None


def test_the_mark_tells_apart_what_gives_other_numbers():
    measured = load_metrics(["psnr", "ssim"])
    assert settings_digest(load_metrics(["ssim", "psnr"])) == settings_digest(measured)
    others = [
        load_metrics(["psnr"]),
        load_metrics(["psnr", "ssim"], measuring=MetricSettings(first_frame=1)),
        load_metrics(["psnr", "ssim"], measuring=MetricSettings(ClipSampling(stride=8))),
    ]
    assert len({settings_digest(one) for one in (measured, *others)}) == 4


def test_the_mark_is_that_of_every_other_version():
    """Clips that an earlier version has animated and measured are not animated again."""
    settings = b'[1, ["psnr", "ssim"], {}, {"cutting": {"colour": 0, "stride": 16}, "first_frame": 1}]'
    metrics = load_metrics(["psnr", "ssim"], measuring=MetricSettings(first_frame=1))
    assert settings_digest(metrics) == hashlib.sha256(settings).hexdigest()


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "clip" / "result"
    with pytest.raises(RuntimeError), cached_directory(folder, "mark", {}) as aside:
        (aside / "half").touch()
        raise RuntimeError("killed")
    assert not list((tmp_path / "clip").iterdir()) and not is_cached(folder, "mark")
    for mark in ("first", "second"):
        with cached_directory(folder, mark, {}) as aside:
            (aside / mark).touch()
    assert is_cached(folder, "second") and not is_cached(folder, "first")
    assert {path.name for path in folder.iterdir()} == {"second", "mark.json"}


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    (tmp_path / ".hia-aside-left").mkdir()
    with cached_directory(tmp_path / "result", "mark", {}) as aside:
        (aside / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_digests_stay_as_they_are_so_that_finished_videos_are_not_evaluated_again():
    known = "2b0df0904ca163c9a0cecbf804c1e6c5e33f8adfd0cabb5c317f98c629e1adf7"
    assert settings_digest(Metrics(("psnr", "ssim"))) == known
