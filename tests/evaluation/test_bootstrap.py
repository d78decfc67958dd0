"""Intervals by drawing videos anew."""

import numpy as np
import pytest

from hia.evaluation.aggregate import bootstrap, weighted_mean

VALUES = np.random.default_rng(0).normal(10, 2, 40)


def mean(numbers: np.ndarray) -> float:
    return float(VALUES[numbers].mean())


def test_the_same_seed_draws_the_same_videos_and_another_does_not():
    assert bootstrap(mean, 40, seed=3) == bootstrap(mean, 40, seed=3) != bootstrap(mean, 40, seed=4)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    low, high = bootstrap(mean, 40, resamples=4000)
    error = VALUES.std() / np.sqrt(40)
    assert low == pytest.approx(VALUES.mean() - 1.96 * error, abs=0.1 * error * 1.96)
    assert high == pytest.approx(VALUES.mean() + 1.96 * error, abs=0.1 * error * 1.96)


def test_true_means_lie_within_it_about_as_often_as_it_says():
    samples = np.random.default_rng(1).normal(5, 3, (200, 30))
    hits = 0
    for seed, sample in enumerate(samples):
        low, high = bootstrap(lambda numbers, sample=sample: float(sample[numbers].mean()), 30, 200, seed, 0.8)
        hits += low <= 5 <= high
    assert 0.7 < hits / 200 < 0.88


def test_more_confidence_is_a_wider_interval():
    low, high = bootstrap(mean, 40, confidence=0.99)
    inner_low, inner_high = bootstrap(mean, 40, confidence=0.5)
    assert low < inner_low < inner_high < high


def test_one_video_says_nothing_of_others():
    assert bootstrap(mean, 1) is None


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_intervals_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1 resample and a confidence in"):
        bootstrap(mean, 40, **wrong)


def test_the_weighted_mean_of_videos_is_the_mean_of_their_frames():
    frames = [np.array([1.0, 2.0, 3.0]), np.array([10.0])]
    means, counts = np.array([part.mean() for part in frames]), np.array([len(part) for part in frames])
    assert weighted_mean(means, counts) == np.concatenate(frames).mean()
