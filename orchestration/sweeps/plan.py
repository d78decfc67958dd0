"""The plan of a sweep: the order of its trials, and what each one runs, shares and reuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hia.io.hashing import json_digest
from orchestration.chain import ChainStage, plan, stages_up_to
from orchestration.names import EVALUATE
from orchestration.pipeline import StagesOf, table
from orchestration.sweeps.search_space import Trial
from orchestration.sweeps.trials import FINAL, Sweep, read_record

if TYPE_CHECKING:
    from orchestration.stages.content_hashes import ContentHashes


def interleave_by_training(trials: Sequence[Trial], groups: Sequence[str]) -> list[Trial]:
    """Order the trials so that those of one training follow each other, after the first trial of every training.

    So trials that run at once train different things, instead of waiting for each other's training.
    groups: digest of each trial's training.
    """
    turns: dict[str, int] = {}
    keyed = []
    for trial, group in zip(trials, groups, strict=True):
        turns[group] = turns.get(group, 0) + 1
        keyed.append((turns[group], trial))
    return [trial for _, trial in sorted(keyed, key=lambda item: item[0])]


def lineages(stages: Sequence[ChainStage]) -> dict[str, str]:
    """Digest of each stage by the configuration alone, its own and its inputs', without a look at any data.

    Stages of two chains with the same lineage have the same fingerprint when their turn comes.
    """
    digests: dict[str, str] = {}
    for stage in stages:
        digests[stage.name] = json_digest(
            stage.name, stage.version, stage.reads, [digests[name] for name in stage.inputs]
        )
    return digests


@dataclass(frozen=True)
class TrialPlan:
    """A trial before it runs.

    finished: nothing is left to do. runs, reuses: names of stages; shares: those that an earlier trial of the list runs
    for this one, too. training: digest of its training.
    """

    trial: Trial
    finished: bool
    runs: tuple[str, ...]
    shares: tuple[str, ...]
    reuses: tuple[str, ...]
    training: str


def plan_trials(
    sweep: Sweep, trials: Sequence[Trial], stages_of: StagesOf, contents: "ContentHashes"
) -> list[TrialPlan]:
    """Plan all trials, in the order in which they begin."""
    stages = {trial.id: _stages(sweep, trial, stages_of, contents) for trial in trials}
    digests = {name: lineages(chain) for name, chain in stages.items()}
    trainings = [_training(stages[trial.id], digests[trial.id]) for trial in trials]
    groups = dict(zip((trial.id for trial in trials), trainings, strict=True))
    done_by_then: set[str] = set()
    plans = []
    for trial in interleave_by_training(trials, trainings):
        one = _plan_trial(sweep, trial, stages[trial.id], digests[trial.id], done_by_then, groups[trial.id])
        done_by_then |= set(digests[trial.id].values())
        plans.append(one)
    return plans


def trial_plan_table(sweep: Sweep, plans: Sequence[TrialPlan]) -> str:
    """Table of the plan, with a line for each trial."""
    spec = sweep.spec
    if not plans:
        chooser = spec.search_algorithm.title
        return f"{spec.trials} trials, whose values {chooser} chooses as they come: {', '.join(spec.search)}"
    rows = [("trial", "runs", "trained or made by a trial above", "reuses what is done")]
    for one in plans:
        runs = "nothing: it is finished" if one.finished else _listed(one.runs)
        rows.append((one.trial.label, runs, _listed(one.shares), _listed(one.reuses)))
    rungs = ", ".join(f"{share:.3g}" for share in spec.shares)
    asha = f"\n\nasha: judged after {rungs} of the training; the table is of the last" if len(spec.shares) > 1 else ""
    return f"{table(rows)}{asha}\n\nresults: {sweep.folder}"


def _stages(sweep: Sweep, trial: Trial, stages_of: StagesOf, contents: "ContentHashes") -> tuple[ChainStage, ...]:
    """The last chain of the trial: with the shorter training, if the scheduler gave it up."""
    record = read_record(sweep.folder, trial)
    share = record.share if record is not None and record.state == "stopped" else 1.0
    return stages_up_to(stages_of(sweep.config(trial, share), contents), EVALUATE)


def _plan_trial(
    sweep: Sweep, trial: Trial, stages: Sequence[ChainStage], digests: dict[str, str], made: set[str], training: str
) -> TrialPlan:
    record = read_record(sweep.folder, trial)
    planned = {one.stage.name: one.action for one in plan(stages, sweep.storage, None)}
    reuses = tuple(name for name, action in planned.items() if action == "reuse")
    missing = [name for name in planned if name not in reuses]
    return TrialPlan(
        trial=trial,
        finished=record is not None and record.state in FINAL and not missing,
        runs=tuple(name for name in missing if digests[name] not in made),
        shares=tuple(name for name in missing if digests[name] in made),
        reuses=reuses,
        training=training,
    )


def _training(stages: Sequence[ChainStage], digests: dict[str, str]) -> str:
    """Digest of everything before the evaluation."""
    judge = next(stage for stage in stages if stage.name == EVALUATE)
    return json_digest([digests[name] for name in judge.inputs])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "–"
