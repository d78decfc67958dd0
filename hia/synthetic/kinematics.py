"""Kinematics of the dancers: rotations, two-bone limbs and smooth tracks. Angles in radians."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# A limb is never stretched beyond this share of its length: a straight joint has no side to bend to.
LARGEST_STRETCH = 0.985
# A limb is never folded below this share of its length.
LEAST_STRETCH = 0.35


def rotation(axis: Array | tuple[float, float, float], angle: Array | float) -> Array:
    """Rotations by `angle` [...] about the unit `axis` [3] (Rodrigues).   → [..., 3, 3]"""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float64)
    angle = np.asarray(angle, np.float64)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def euler(yaw: Array | float, pitch: Array | float, roll: Array | float) -> Array:
    """Turn about y, then nod about x, then lean about z, each in the frame left by the one before.   → [..., 3, 3]"""
    return rotation((0, 1, 0), yaw) @ rotation((1, 0, 0), pitch) @ rotation((0, 0, 1), roll)


def unit(vectors: Array) -> Array:
    """Vectors [..., 3] brought to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def turn(rotations: Array, vectors: Array) -> Array:
    """Rotations [..., 3, 3] applied to vectors [..., 3]."""
    return np.einsum("...ij,...j->...i", rotations, vectors)


def mirrored(rotations: Array) -> Array:
    """The rotations [..., 3, 3] mirrored at x = 0."""
    mirror = np.array([-1.0, 1.0, 1.0])
    return rotations * mirror[:, None] * mirror


def carry(vector: Array, start: Array, ends: Array) -> Array:
    """`vector` [3] under the smallest rotation that takes unit `start` [3] to each of the unit `ends` [..., 3].

    A field of directions over the sphere that is smooth everywhere except at −start.
    """
    share = (start @ vector + ends @ vector) / np.maximum(1 + ends @ start, 1e-6)
    return vector - share[..., None] * (start + ends) + 2 * (start @ vector) * ends


@dataclass(frozen=True, eq=False)
class Limb:
    """A bent limb: rotations [T, 3, 3] of both bones, positions [T, 3] of the middle joint and the end."""

    upper: Array
    lower: Array
    middle: Array
    end: Array


def bend_limb(
    root: Array, target: Array, lengths: tuple[float, float], frame: Array, forward: Array, pole: Array, crease: float
) -> Limb:
    """Two bones from `root` [T, 3] that end at `target` [T, 3], or as near to it as they reach.

    frame [T, 3, 3]: the parent's rotation, in which the limb at rest hangs along −y. The middle joint points to
    `pole` [3] when the limb points to `forward` [3], both in that frame, and is carried along by other directions.
    crease: +1 if the joint's front (z) is on the side of the pole (a knee), −1 if it is opposite (an elbow).
    """
    towards = target - root
    upper, lower = lengths
    reach = np.clip(
        np.linalg.norm(towards, axis=-1), LEAST_STRETCH * (upper + lower), LARGEST_STRETCH * (upper + lower)
    )
    direction = unit(towards)
    inside = turn(np.swapaxes(frame, -1, -2), direction)
    side = turn(frame, carry(pole, forward, inside))
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    across = np.sqrt(upper**2 - along**2)
    middle = root + along[:, None] * direction + across[:, None] * side
    end = root + reach[:, None] * direction
    first, second = (_hanging(unit(bone), crease * side) for bone in (middle - root, end - middle))
    return Limb(first, second, middle, end)


def _hanging(direction: Array, front: Array) -> Array:
    """Rotations whose −y is `direction` and whose z is `front` made perpendicular to it."""
    z = unit(front - np.sum(front * direction, axis=-1, keepdims=True) * direction)
    return np.stack([np.cross(-direction, z), -direction, z], axis=-1)


@dataclass(frozen=True, eq=False)
class Track:
    """Values that move from one key to the next and rest there: a sum of minimum-jerk steps, so twice differentiable.

    starts, durations [K] seconds; values [K + 1, D].
    """

    starts: Array
    durations: Array
    values: Array

    def at(self, times: Array) -> Array:
        """Values at times [T].   → [T, D]"""
        progress = np.clip((times[:, None] - self.starts) / self.durations, 0, 1)
        steps = progress**3 * (10 - 15 * progress + 6 * progress**2)
        return self.values[0] + steps @ np.diff(self.values, axis=0)


@dataclass(frozen=True, eq=False)
class Pulses:
    """Values that leave zero and come back, twice differentiable: blinks, lifted feet, flicks of a hand.

    starts, durations [K] seconds; heights [K, D].
    """

    starts: Array
    durations: Array
    heights: Array

    def at(self, times: Array) -> Array:
        """Values at times [T].   → [T, D]"""
        progress = np.clip((times[:, None] - self.starts) / self.durations, 0, 1)
        return (64 * progress**3 * (1 - progress) ** 3) @ self.heights


@dataclass(frozen=True, eq=False)
class Harmonics:
    """A sum of sines: frequencies [K] Hz, phases [K, D], amplitudes [K, D]."""

    frequencies: Array
    phases: Array
    amplitudes: Array

    @classmethod
    def random(
        cls, generator: np.random.Generator, amplitudes: Array, slowest: float = 0.15, fastest: float = 0.7
    ) -> "Harmonics":
        """Three sines whose amplitudes sum to about `amplitudes` [D]."""
        shares = np.array([0.5, 0.3, 0.2])[:, None]
        phases = generator.uniform(0, 2 * np.pi, (3, len(amplitudes)))
        return cls(np.sort(generator.uniform(slowest, fastest, 3)), phases, shares * amplitudes)

    def at(self, times: Array) -> Array:
        """Values at times [T].   → [T, D]"""
        angles = 2 * np.pi * times[:, None] * self.frequencies
        return np.sum(self.amplitudes * np.sin(angles[..., None] + self.phases), axis=1)
