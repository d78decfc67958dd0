"""Search algorithms and schedulers of sweeps: one class each, one entry in `ALGORITHMS` or `SCHEDULERS`.

An algorithm chooses the values that are tried; a scheduler decides how long each trial is trained. A new one is a
class here and its entry: the sweep file's checks, the plan, the driver and Ray Tune's part ask the object only.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from orchestration.sweeps.search_space import Choice, Domain, SearchSpace, Trial

if TYPE_CHECKING:  # Ray Tune takes seconds to import, which a plan and a refused file need not wait for
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

# Draws of a trial that has been drawn before, until it is taken that there are no others.
MOST_DRAWS = 200
# The name under which trials report their resource to Ray Tune: 1 at the first judgement.
RESOURCE = "resource"


class Algorithm(ABC):
    """Strategy that chooses the values to try.

    plans_ahead: whether all trials are known before any has run; otherwise `searcher` suggests them one by one.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    plans_ahead: ClassVar[bool] = True

    def check(self, space: SearchSpace) -> None:
        """Raises ValueError for a search space that the algorithm cannot search."""
        if space.trials is None:
            raise ValueError(f"trials: say how many trials algorithm: {self.name} may make")

    def check_installed(self) -> None:  # noqa: B027  (nothing is missing of most algorithms)
        """Raises ValueError when a package that the algorithm needs is not installed."""

    def trials(self, space: SearchSpace) -> tuple[Trial, ...]:
        """The trials that are known before any has run. Raises ValueError for an impossible number."""
        return ()

    def searcher(
        self, space: SearchSpace, measured: Sequence[tuple[Trial, float]], unfinished: Sequence[Trial]
    ) -> "Searcher":
        """Ray Tune's source of suggestions, for an algorithm that does not plan ahead.

        measured: trials of earlier executions with their metric; unfinished: begun ones, which are tried first.
        """
        raise NotImplementedError(f"{self.name} plans its trials ahead")


class Grid(Algorithm):
    """All combinations of the listed values."""

    name, title = "grid", "the grid"

    def check(self, space: SearchSpace) -> None:
        """Raises ValueError for a range, and for a number of trials."""
        ranges = [key for key, domain in space.domains.items() if not isinstance(domain, Choice)]
        if ranges:
            raise ValueError(f"search: {ranges[0]} is a range, and a grid needs lists: set algorithm: random or optuna")
        if space.trials is not None:
            raise ValueError("trials: a grid tries every combination; leave it out, or set algorithm: random")

    def trials(self, space: SearchSpace) -> tuple[Trial, ...]:
        """Every combination, the last key's values changing fastest."""
        lists = [domain.values for domain in space.domains.values() if isinstance(domain, Choice)]
        return tuple(Trial(dict(zip(space.domains, values, strict=True))) for values in itertools.product(*lists))


class RandomSearch(Algorithm):
    """Values drawn independently of each other."""

    name, title = "random", "random search"

    def trials(self, space: SearchSpace) -> tuple[Trial, ...]:
        """Different trials, the same for the same seed; a longer list begins with the shorter one."""
        generator = np.random.default_rng(space.seed)
        drawn: dict[str, Trial] = {}
        wanted = space.trials or 0
        for _ in range(wanted * MOST_DRAWS):
            trial = Trial({key: domain.draw(generator) for key, domain in space.domains.items()})
            drawn.setdefault(trial.id, trial)
            if len(drawn) == wanted:
                return tuple(drawn.values())
        raise ValueError(f"trials: {wanted} are asked for, but search has only about {len(drawn)} combinations")


class Optuna(Algorithm):
    """Values that Optuna's sampler suggests from the results so far."""

    name, title = "optuna", "Optuna"
    plans_ahead = False

    def check_installed(self) -> None:
        """Raises ValueError when Optuna is not installed."""
        if find_spec("optuna") is None:
            raise ValueError(
                "algorithm: optuna needs the extra `sweeps`: python -m pip install 'hia-animation[sweeps]' "
                "(in a checkout: python -m pip install -e '.[sweeps]'), or set algorithm: random"
            )

    def searcher(
        self, space: SearchSpace, measured: Sequence[tuple[Trial, float]], unfinished: Sequence[Trial]
    ) -> "Searcher":
        """Ray Tune's Optuna search, which has been told the measured trials."""
        from ray.tune.search.optuna import OptunaSearch

        search = OptunaSearch(
            space={f"values/{key}": _optuna_distribution(domain) for key, domain in space.domains.items()},
            metric="metric",
            mode=space.mode,
            points_to_evaluate=[_as_suggestion(trial) for trial in unfinished] or None,
            seed=space.seed + len(measured),  # the same seed would suggest once more what is known already
        )
        for trial, value in measured:
            search.add_evaluated_point(_as_suggestion(trial), value)
        return search


def _as_suggestion(trial: Trial) -> dict[str, Any]:
    return {f"values/{key}": value for key, value in trial.values.items()}


def _optuna_distribution(domain: Domain) -> Any:
    from optuna import distributions

    if isinstance(domain, Choice):
        return distributions.CategoricalDistribution(domain.values)
    if domain.whole:
        return distributions.IntDistribution(int(domain.low), int(domain.high), step=int(domain.step or 1))
    return distributions.FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


class Scheduler(ABC):
    """Strategy that decides how long each trial is trained.

    stops_trials: whether worse trials are given up, so that it is worth nothing where no trial trains for itself.
    """

    name: ClassVar[str]
    stops_trials: ClassVar[bool]

    @abstractmethod
    def shares(self, rungs: int, reduction: int) -> tuple[float, ...]:
        """Shares of the training's iterations after which trials are judged, ascending; the last one is 1."""

    @abstractmethod
    def tune_scheduler(self, rungs: int, reduction: int) -> "TrialScheduler":
        """Ray Tune's scheduler."""


class NoScheduler(Scheduler):
    """Every trial is trained to its end."""

    name, stops_trials = "none", False

    def shares(self, rungs: int, reduction: int) -> tuple[float, ...]:
        """The whole training."""
        return (1.0,)

    def tune_scheduler(self, rungs: int, reduction: int) -> "TrialScheduler":
        """First come, first served."""
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()


class Asha(Scheduler):
    """Asynchronous successive halving: in `rungs` rounds, each `reduction` times as long, with the best trials."""

    name, stops_trials = "asha", True

    def shares(self, rungs: int, reduction: int) -> tuple[float, ...]:
        """1/reduction^(rungs-1), …, 1/reduction, 1."""
        return tuple(reduction ** (number - rungs + 1) for number in range(rungs))

    def tune_scheduler(self, rungs: int, reduction: int) -> "TrialScheduler":
        """Ray Tune's ASHA with a single bracket, in units of the first rung."""
        from ray.tune.schedulers import AsyncHyperBandScheduler

        longest = reduction ** (rungs - 1)
        return AsyncHyperBandScheduler(
            time_attr=RESOURCE, grace_period=1, max_t=longest, reduction_factor=reduction, stop_last_trials=False
        )


ALGORITHMS: Mapping[str, Algorithm] = {one.name: one for one in (Grid(), RandomSearch(), Optuna())}
SCHEDULERS: Mapping[str, Scheduler] = {one.name: one for one in (NoScheduler(), Asha())}
