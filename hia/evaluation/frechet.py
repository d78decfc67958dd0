"""The Fréchet distance of two sets of features, exact for any number of them, and streaming statistics for it.

‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2·tr (Σ₁Σ₂)^½ (Heusel et al., 2017). The last trace is the sum of the singular values of
R₁R₂ᵀ, where Σ = RᵀR: no covariance is ever squared or formed, so nothing is lost when there are fewer rows than
dimensions, where the usual matrix square root is slow and gives distances below zero.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]

# Rounding may make a distance negative; by more than this share of the variances it would be an error.
ROUNDING = 1e-6
SYMMETRY = 1e-8
KERNEL_ROWS = 1024


class FewSamples(UserWarning):
    """No more rows than dimensions: the distance is biased upwards, so only equal numbers of rows can be compared."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution. mean float64 [d]; root float64 [r, d], with rootᵀ·root the covariance."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]

    @classmethod
    def of_covariance(cls, mean: Features, covariance: Features) -> "Gaussian":
        """The distribution of published statistics: mean [d], covariance [d, d].

        Raises ValueError unless the covariance is symmetric and has no negative eigenvalues, up to rounding.
        """
        covariance = np.asarray(covariance, np.float64)
        scale = float(np.abs(covariance).max(initial=0))
        if covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"a covariance of {len(mean)} dimensions is square, not {list(covariance.shape)}")
        if not np.allclose(covariance, covariance.T, rtol=0, atol=SYMMETRY * scale):
            raise ValueError("the covariance is not symmetric")
        values, vectors = np.linalg.eigh(covariance)
        if values.min() < -ROUNDING * max(values.max(), 0):
            raise ValueError(f"the covariance has a negative eigenvalue, {values.min():.3g}")
        return cls(np.asarray(mean, np.float64), np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T)

    def distance(self, other: "Gaussian") -> float:
        """The Fréchet distance, never negative. Raises ValueError for unequal dimensions."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features of {len(self.mean)} and of {len(other.mean)} dimensions cannot be compared")
        variances = float((self.root**2).sum() + (other.root**2).sum())
        common = float(np.linalg.svd(self.root @ other.root.T, compute_uv=False).sum())
        distance = float(((self.mean - other.mean) ** 2).sum()) + variances - 2 * common
        if distance < -ROUNDING * variances:
            raise ArithmeticError(f"the Fréchet distance came out as {distance}")
        return max(distance, 0.0)


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Sufficient statistics of `count` features for a Fréchet distance; those of parts can be merged.

    mean float64 [d]; root float64 [r, d], r at most d: rootᵀ·root is the scatter, the covariance times count − 1.
    """

    count: int
    mean: NDArray[np.float64]
    root: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features, name: str = "features") -> "FeatureStatistics":
        """Statistics of features [N, d], N at least 1. Raises ValueError, with `name`, unless they are finite."""
        require_finite(features, name)
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        return cls(len(values), mean, _triangle(values - mean))

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Statistics of both together. Raises ValueError for unequal dimensions."""
        return merged([self, other])

    def gaussian(self) -> Gaussian:
        """The normal distribution with this mean and sample covariance. Raises ValueError for fewer than 2 features."""
        if self.count < 2:
            raise ValueError(f"a Fréchet distance needs at least 2 features on each side, not {self.count}")
        return Gaussian(self.mean, self.root / math.sqrt(self.count - 1))

    def distance(self, other: "FeatureStatistics") -> float:
        """The Fréchet distance. Warns (FewSamples) when a side has no more features than dimensions."""
        count, dimension = min(self.count, other.count), len(self.mean)
        if count <= dimension:
            warnings.warn(
                f"a Fréchet distance of {count} features with {dimension} dimensions is biased upwards: compare it "
                "only with those of equally many, or use more videos",
                FewSamples,
                stacklevel=2,
            )
        return self.gaussian().distance(other.gaussian())


def merged(parts: Iterable[FeatureStatistics]) -> FeatureStatistics:
    """Statistics of the features of all parts together, in one pass. Raises ValueError for none, unequal dimensions."""
    parts = list(parts)
    if not parts:
        raise ValueError("there are no feature statistics to merge")
    if len({len(part.mean) for part in parts}) > 1:
        raise ValueError(f"features of unequal dimensions cannot be merged: {sorted({len(p.mean) for p in parts})}")
    count = sum(part.count for part in parts)
    # About a mean of their own, large offsets common to all features cost no digits.
    origin = parts[0].mean
    mean = origin + sum(part.count * (part.mean - origin) for part in parts) / count
    rows = [part.root for part in parts]
    rows += [math.sqrt(part.count) * (part.mean - mean)[None] for part in parts]
    return FeatureStatistics(count, mean, _triangle(np.concatenate(rows)))


def frechet_distance(features_a: Features, features_b: Features) -> float:
    """The Fréchet distance of the normal distributions of features [N, d] and [M, d].

    Raises ValueError for fewer than 2 rows, unequal dimensions and values that are not finite. Warns (FewSamples) when
    a side has no more rows than dimensions.
    """
    return FeatureStatistics.of(features_a, "features_a").distance(FeatureStatistics.of(features_b, "features_b"))


def kernel_distance(features_a: Features, features_b: Features) -> float:
    """The unbiased squared MMD with the kernel (x·y / d + 1)³ (KID of Bińkowski et al., 2018), of all rows at once.

    Features [N, d] and [M, d]. May be slightly negative. Raises ValueError as `frechet_distance` does.
    """
    for name, features in (("features_a", features_a), ("features_b", features_b)):
        require_finite(features, name)
        if len(features) < 2:
            raise ValueError(f"a kernel distance needs at least 2 features on each side, not {len(features)}")
    if features_a.shape[1] != features_b.shape[1]:
        raise ValueError(
            f"features of {features_a.shape[1]} and of {features_b.shape[1]} dimensions cannot be compared"
        )
    across = _kernel_sum(features_a, features_b) / (len(features_a) * len(features_b))
    return _mean_within(features_a) + _mean_within(features_b) - 2 * across


def require_finite(features: Features, name: str) -> None:
    """Check that features are [N, d] of finite numbers, N at least 1. Raises ValueError, with `name`."""
    if features.ndim != 2 or features.size == 0:
        raise ValueError(f"{name} must be [N, d] with at least one row, not {list(features.shape)}")
    if len(bad := np.flatnonzero(~np.isfinite(features).all(axis=1))):
        raise ValueError(f"{name} must be finite: row {bad[0]} of {len(features)} is not (and {len(bad) - 1} others)")


def _mean_within(features: Features) -> float:
    """The kernel's mean over all pairs of different rows."""
    with_themselves = ((features.astype(np.float64) ** 2).sum(axis=1) / features.shape[1] + 1) ** 3
    count = len(features)
    return (_kernel_sum(features, features) - float(with_themselves.sum())) / (count * (count - 1))


def _kernel_sum(one: Features, other: Features) -> float:
    """The kernel's sum over all pairs; in blocks, because there are as many values as pairs."""
    other = other.astype(np.float64)
    blocks = (one[first : first + KERNEL_ROWS].astype(np.float64) for first in range(0, len(one), KERNEL_ROWS))
    return float(sum(((block @ other.T / one.shape[1] + 1) ** 3).sum() for block in blocks))


def _triangle(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix with as many rows as columns, or fewer, and the same product rowsᵀ·rows."""
    return np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows
