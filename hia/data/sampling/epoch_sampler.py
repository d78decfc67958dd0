"""Endless shuffled order of samples, indexable at any position, and its division among ranks."""

import numpy as np
from numpy.typing import NDArray

# Number of permutations in memory: a batch may extend from one epoch into the next.
KEPT = 2


class EpochSampler:
    """Endless order of `num` samples: each epoch is a permutation of them, drawn from (seed, epoch).

    Position n ≥ 0 is in epoch n // num. Only the seed is needed to resume at any position. Raises ValueError unless
    num ≥ 1 and seed ≥ 0.
    """

    def __init__(self, num: int, seed: int) -> None:
        if num < 1 or seed < 0:
            raise ValueError(f"num must be at least 1 and seed at least 0, not {num} and {seed}")
        self.num, self.seed = num, seed
        self._permutations: dict[int, NDArray[np.int64]] = {}

    def __getstate__(self) -> dict[str, object]:
        # Permutations are not sent to other processes: each one draws those that it needs.
        return self.__dict__ | {"_permutations": {}}

    def __getitem__(self, position: int) -> tuple[int, int]:
        """(epoch, index in 0..num − 1) of a position. Raises IndexError below 0."""
        if position < 0:
            raise IndexError(f"positions start at 0, not at {position}")
        epoch, place = divmod(position, self.num)
        return epoch, int(self._permutation(epoch)[place])

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._permutations:
            while len(self._permutations) >= KEPT:
                del self._permutations[next(iter(self._permutations))]
            self._permutations[epoch] = np.random.default_rng([self.seed, epoch]).permutation(self.num)
        return self._permutations[epoch]


def positions(step: int, rank: int, world_size: int, micro_batch: int, accumulation: int) -> list[range]:
    """Positions of one rank's samples in one optimizer step: `accumulation` ranges of length `micro_batch`.

    The global batch of a step has G = world_size · micro_batch · accumulation samples, at the positions step · G up to
    (step + 1) · G, whatever the factors of G are. Micro-batch a of rank r begins at a · world_size · micro_batch +
    r · micro_batch in it, so that all ranks together read it in order. Raises ValueError for a rank outside the world,
    and for numbers below 1 (step: below 0).
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must lie in 0..world_size − 1, not {rank} of {world_size}")
    if min(micro_batch, accumulation) < 1 or step < 0:
        raise ValueError(
            f"micro_batch and accumulation must be at least 1 and step at least 0, not {micro_batch}, {accumulation} "
            f"and {step}"
        )
    together = world_size * micro_batch
    begin = step * together * accumulation + rank * micro_batch
    return [range(first, first + micro_batch) for first in range(begin, begin + accumulation * together, together)]
