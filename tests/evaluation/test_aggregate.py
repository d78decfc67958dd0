"""Figures of many videos: means over all frames, distances over all features, intervals, and what is left out."""

import numpy as np
import pytest

from hia.evaluation.aggregate import Resampling, summarise
from hia.evaluation.frechet import FewSamples, frechet_distance, kernel_distance
from hia.evaluation.regions import sharpness_agreement
from hia.evaluation.scores import Features, Figure, VideoScores

pytestmark = pytest.mark.filterwarnings("ignore::hia.evaluation.frechet.FewSamples")


def rows(count: int, dimension: int, seed: int, offset: float = 0.0) -> np.ndarray:
    return (offset + np.random.default_rng(seed).standard_normal((count, dimension))).astype(np.float32)


def scored(name: str, l1: float, frames: int = 10, seed: int = 0, key: str = "fvd", **figures: Figure) -> VideoScores:
    hands = np.abs(rows(6, 1, seed + 1)), np.abs(rows(6, 1, seed + 2))
    features = {key: Features(rows(4, 3, seed), rows(4, 3, seed + 50, 1.0)), "hand_sharpness": Features(*hands)}
    return VideoScores(name, frames, {"l1": Figure(l1, frames), **figures}, features)


@pytest.fixture
def scores() -> list[VideoScores]:
    return [scored(f"dance_{n}", l1=float(n), frames=10 + n, seed=n) for n in range(6)]


def test_a_figure_is_the_mean_over_the_frames_of_all_videos(scores):
    figure = summarise(scores).figures["l1"]
    expected = sum(n * (10 + n) for n in range(6)) / sum(10 + n for n in range(6))
    assert (figure.value, figure.videos, figure.count) == (pytest.approx(expected), 6, 75)
    assert figure.spread == pytest.approx(np.std(range(6), ddof=1))
    assert figure.low < figure.value < figure.high


def test_a_distance_is_that_of_all_rows_together(scores):
    figure = summarise(scores).figures["fvd"]
    made, true = (np.concatenate([one.features["fvd"][side] for one in scores]) for side in (0, 1))
    assert figure.value == pytest.approx(frechet_distance(made, true))
    assert (figure.videos, figure.count, figure.dimension, figure.rank_deficient) == (6, 24, 3, False)
    assert figure.low is None


def test_fid_brings_the_kernel_distance_of_the_same_features():
    scores = [scored(f"dance_{n}", l1=0.0, seed=n, key="fid") for n in range(3)]
    made, true = (np.concatenate([one.features["fid"][side] for one in scores]) for side in (0, 1))
    assert summarise(scores).figures["kid"].value == pytest.approx(kernel_distance(made, true))
    assert "kid" not in summarise([scored("a", 0.0, key="fd[inception]")]).figures


def test_correlations_are_those_of_all_hands_not_means_of_videos(scores):
    figures = summarise(scores).figures
    made, true = (np.concatenate([one.features["hand_sharpness"][side][:, 0] for one in scores]) for side in (0, 1))
    for name, value in sharpness_agreement(made, true).items():
        assert (figures[name].value, figures[name].count) == (pytest.approx(value), 36)
        assert figures[name].low <= value <= figures[name].high


def test_intervals_of_distances_are_made_on_request(scores):
    figure = summarise(scores, Resampling(distance_draws=50)).figures["fvd"]
    assert 0 < figure.low < figure.high
    assert figure == summarise(scores, Resampling(distance_draws=50)).figures["fvd"]
    assert figure != summarise(scores, Resampling(distance_draws=50, seed=1)).figures["fvd"]


def test_the_order_of_videos_changes_nothing(scores):
    assert summarise(scores[::-1]) == summarise(scores)


def test_no_more_rows_than_dimensions_are_marked_and_warned_of_once(scores):
    with pytest.warns(FewSamples) as caught:
        figure = summarise([scored("a", 0.0)] * 0 + [few("a", 1), few("b", 2)], Resampling(distance_draws=5)).figures[
            "fvd"
        ]
    assert figure.rank_deficient and len(caught) == 1


def few(name: str, seed: int) -> VideoScores:
    return VideoScores(name, 16, {}, {"fvd": Features(rows(1, 5, seed), rows(1, 5, seed + 9))})


def test_a_figure_that_some_videos_lack_is_that_of_the_others(scores):
    scores[2] = scored("dance_2", l1=2.0, frames=12, seed=2, face_l1=Figure(8.0, 5))
    scores[4] = scored("dance_4", l1=4.0, frames=14, seed=4, face_l1=Figure(2.0, 1))
    figure = summarise(scores).figures["face_l1"]
    assert (figure.value, figure.videos, figure.count) == (pytest.approx((8 * 5 + 2) / 6), 2, 6)


def test_a_distance_that_one_video_cannot_have_is_left_out_with_the_videos_name(scores):
    scores.append(
        VideoScores("short", 12, {"l1": Figure(1.0, 12)}, {}, {"fvd": "12 frames are less than a clip of 16"})
    )
    summary = summarise(scores)
    assert "fvd" not in summary.figures and summary.figures["l1"].videos == 7
    assert summary.left_out["fvd"] == "1 of 7 videos cannot have it (short: 12 frames are less than a clip of 16)"


def test_a_distance_of_one_clip_is_left_out():
    summary = summarise([few("a", 1)])
    assert not summary.figures
    assert summary.left_out == {"fvd": "a Fréchet distance needs at least 2 features on each side, not 1"}


def test_one_video_has_no_interval():
    figure = summarise([scored("a", l1=3.0)]).figures["l1"]
    assert (figure.value, figure.low, figure.high, figure.spread) == (3.0, None, None, None)


def test_no_videos_and_one_video_twice_are_refused(scores):
    with pytest.raises(ValueError, match="no videos to summarise"):
        summarise([])
    with pytest.raises(ValueError, match="scored more than once: dance_3"):
        summarise([*scores, scores[3]])
