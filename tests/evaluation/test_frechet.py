"""The Fréchet distance: closed forms, a high-precision reference, and what must not change it."""

import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.evaluation.frechet import FeatureStatistics, FewSamples, Gaussian, frechet_distance, kernel_distance, merged

pytestmark = pytest.mark.filterwarnings("ignore::hia.evaluation.frechet.FewSamples")


def features(count: int, dimension: int, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    return offset + scale * np.random.default_rng(seed).standard_normal((count, dimension))


def rotation(dimension: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(features(dimension, dimension, seed))[0]


def precise_distance(one: np.ndarray, other: np.ndarray) -> float:
    """From the definition, with 40 digits: the eigenvalues of Σ₁Σ₂, which are real and not negative."""
    with mpmath.workdps(40):
        moments = []
        for rows in (one, other):
            matrix = mpmath.matrix(rows.tolist())
            mean = [mpmath.fsum(matrix[:, column]) / matrix.rows for column in range(matrix.cols)]
            centred = mpmath.matrix(matrix.rows, matrix.cols)
            for row in range(matrix.rows):
                for column in range(matrix.cols):
                    centred[row, column] = matrix[row, column] - mean[column]
            moments.append((mean, centred.T * centred / (matrix.rows - 1)))
        (mean, covariance), (other_mean, other_covariance) = moments
        values = mpmath.eig(covariance * other_covariance, left=False, right=False)
        roots = mpmath.fsum(mpmath.sqrt(max(mpmath.re(value), 0)) for value in values)
        apart = mpmath.fsum((a - b) ** 2 for a, b in zip(mean, other_mean, strict=True))
        trace = mpmath.fsum(covariance[i, i] + other_covariance[i, i] for i in range(covariance.rows))
        return float(apart + trace - 2 * roots)


# ------------------------------------------------------------------------------------------------ closed forms


def test_of_gaussians_along_the_axes_the_deviations_are_compared():
    variances, others = np.array([4.0, 9.0, 0.0]), np.array([1.0, 25.0, 16.0])
    one, other = (Gaussian.of_covariance(np.zeros(3), np.diag(values)) for values in (variances, others))
    assert one.distance(other) == pytest.approx((2 - 1) ** 2 + (3 - 5) ** 2 + (0 - 4) ** 2)


def test_of_gaussians_turned_alike_it_is_the_same():
    variances, others, turned = np.array([4.0, 9.0, 1.0]), np.array([1.0, 25.0, 16.0]), rotation(3)
    one, other = (Gaussian.of_covariance(np.zeros(3), turned @ np.diag(v) @ turned.T) for v in (variances, others))
    assert one.distance(other) == pytest.approx(1 + 4 + 9)


def test_of_equal_spread_it_is_the_squared_distance_of_the_means():
    rows = features(30, 5)
    assert frechet_distance(rows, rows + np.array([3, 0, 0, 4, 0])) == pytest.approx(25)


@pytest.mark.parametrize(("count", "other_count"), [(12, 9), (4, 3), (12, 3), (2, 2)])
def test_from_samples_it_is_that_of_a_reference_with_40_digits(count, other_count):
    one, other = features(count, 6, seed=1, scale=3), features(other_count, 6, seed=2, offset=0.5)
    assert frechet_distance(one, other) == pytest.approx(precise_distance(one, other), rel=1e-10)


# -------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize(("count", "dimension"), [(50, 2048), (50, 400), (500, 100), (2, 7)])
def test_of_a_set_and_itself_in_any_order_it_is_nothing(count, dimension):
    rows = features(count, dimension, offset=5, scale=10)
    for again in (rows, rows[::-1]):
        assert 0 <= frechet_distance(rows, again) < 1e-6


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(2, 12), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_it_is_symmetric_never_negative_and_grows_with_the_square_of_the_scale(seed, count, other_count, dimension):
    one, other = features(count, dimension, seed), features(other_count, dimension, seed + 1, scale=2)
    distance = frechet_distance(one, other)
    assert distance >= 0
    assert frechet_distance(other, one) == pytest.approx(distance, rel=1e-9, abs=1e-10)
    assert frechet_distance(7 * one, 7 * other) == pytest.approx(49 * distance, rel=1e-9, abs=1e-9)


def test_turning_the_space_and_the_order_of_samples_change_nothing():
    one, other, turned = features(20, 8), features(15, 8, seed=1, scale=2), rotation(8)
    expected = frechet_distance(one, other)
    assert frechet_distance(one @ turned, other @ turned) == pytest.approx(expected)
    assert frechet_distance(one[::-1], np.roll(other, 4, axis=0)) == pytest.approx(expected)


def test_few_samples_of_many_dimensions_stay_few_numbers_and_have_the_known_bias():
    # What makes them fast: nothing of 2048 × 2048 numbers is ever formed. Equal distributions: the bias alone.
    one, other = (FeatureStatistics.of(features(50, 2048, seed)) for seed in (0, 1))
    assert one.root.shape == (50, 2048)
    assert one.distance(other) == pytest.approx(3640, rel=0.02)


# --------------------------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("chunk", [1, 7, 64, 200])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_statistics_of_parts_merge_to_those_of_the_whole(chunk, offset):
    rows = features(200, 12, offset=offset)
    parts = [FeatureStatistics.of(rows[first : first + chunk]) for first in range(0, len(rows), chunk)]
    together = merged(parts)
    whole = FeatureStatistics.of(rows)
    assert together.count == 200 and len(together.root) <= 12
    np.testing.assert_allclose(together.mean, whole.mean, rtol=1e-15, atol=1e-15)
    scatter = whole.root.T @ whole.root
    np.testing.assert_allclose(together.root.T @ together.root, scatter, atol=1e-9 * np.abs(scatter).max())
    other = FeatureStatistics.of(features(40, 12, seed=1, offset=offset))
    assert together.distance(other) == pytest.approx(whole.distance(other), rel=1e-8)


def test_merging_one_after_the_other_and_in_another_order_is_the_same():
    parts = [FeatureStatistics.of(features(count, 9, seed=count)) for count in (3, 20, 1, 11)]
    one_by_one = parts[3].merge(parts[0]).merge(parts[2]).merge(parts[1])
    other = FeatureStatistics.of(features(30, 9, seed=99))
    assert one_by_one.distance(other) == pytest.approx(merged(parts).distance(other), rel=1e-12)


def test_published_statistics_give_the_distance_of_their_samples():
    one, other = features(60, 10), features(80, 10, seed=1, scale=2)
    published = Gaussian.of_covariance(one.mean(axis=0), np.cov(one, rowvar=False))
    assert published.distance(FeatureStatistics.of(other).gaussian()) == pytest.approx(frechet_distance(one, other))


# ------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_by_name(wrong):
    rows = features(5, 3)
    rows[2, 1] = wrong
    with pytest.raises(ValueError, match=r"fvd features of video dance_7 must be finite: row 2 of 5"):
        FeatureStatistics.of(rows, "fvd features of video dance_7")
    with pytest.raises(ValueError, match="features_b must be finite"):
        frechet_distance(features(5, 3), rows)


def test_no_more_samples_than_dimensions_earn_a_warning():
    with pytest.warns(FewSamples, match="8 features with 8 dimensions is biased upwards"):
        frechet_distance(features(8, 8), features(20, 8, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(features(9, 8), features(20, 8, seed=1))


def test_one_sample_no_samples_and_unequal_dimensions_are_refused():
    with pytest.raises(ValueError, match="at least 2 features on each side, not 1"):
        frechet_distance(features(1, 3), features(5, 3))
    with pytest.raises(ValueError, match="at least one row"):
        frechet_distance(features(0, 3), features(5, 3))
    with pytest.raises(ValueError, match="of 3 and of 4 dimensions"):
        frechet_distance(features(5, 3), features(5, 4))
    with pytest.raises(ValueError, match="unequal dimensions"):
        FeatureStatistics.of(features(5, 3)).merge(FeatureStatistics.of(features(5, 4)))


def test_covariances_that_are_none_are_refused():
    with pytest.raises(ValueError, match="not symmetric"):
        Gaussian.of_covariance(np.zeros(2), np.array([[1.0, 0.5], [0.4, 1.0]]))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        Gaussian.of_covariance(np.zeros(2), np.diag([1.0, -0.1]))
    with pytest.raises(ValueError, match="square"):
        Gaussian.of_covariance(np.zeros(3), np.eye(2))


# --------------------------------------------------------------------------------------------- kernel distance


def test_the_kernel_distance_is_that_of_all_pairs():
    one, other = features(5, 3), features(4, 3, seed=1, offset=1)

    def mean(rows: np.ndarray, others: np.ndarray, same: bool) -> float:
        pairs = [(a, b) for i, a in enumerate(rows) for j, b in enumerate(others) if not (same and i == j)]
        return float(np.mean([(a @ b / 3 + 1) ** 3 for a, b in pairs]))

    expected = mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)
    assert kernel_distance(one, other) == pytest.approx(expected)


def test_the_kernel_distance_of_equal_distributions_is_about_nothing_whatever_their_number():
    few = [kernel_distance(features(20, 6, seed), features(20, 6, seed + 1000)) for seed in range(200)]
    assert abs(np.mean(few)) < 3 * np.std(few) / np.sqrt(len(few))
    assert kernel_distance(features(2000, 6), features(1500, 6, seed=1)) == pytest.approx(0, abs=0.05)


def test_the_kernel_distance_needs_two_samples_a_side():
    with pytest.raises(ValueError, match="at least 2 features on each side, not 1"):
        kernel_distance(features(5, 3), features(1, 3))
