"""What each trial would run and what it would find done already, before any of them runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.chain import ChainStage, plan
from orchestration.chain.stage import digest
from orchestration.contents import Contents
from orchestration.pipeline import StagesOf
from orchestration.summary import table
from orchestration.sweeps.records import FINAL, read_record
from orchestration.sweeps.search import lineages, spread
from orchestration.sweeps.sweep import Sweep, Trial
from orchestration.sweeps.work import JUDGE, judged_stages


@dataclass(frozen=True)
class Outlook:
    """A trial before it runs.

    finished: nothing is left to do. runs, reuses: names of stages; shares: those that an earlier trial of the list runs
    for this one, too. training: what its training goes by.
    """

    trial: Trial
    finished: bool
    runs: tuple[str, ...]
    shares: tuple[str, ...]
    reuses: tuple[str, ...]
    training: str


def outlook(sweep: Sweep, trials: Sequence[Trial], stages_of: StagesOf, contents: Contents) -> list[Outlook]:
    """Of all trials, in the order in which they begin."""
    stages = {trial.id: _stages(sweep, trial, stages_of, contents) for trial in trials}
    marks = {name: lineages(chain) for name, chain in stages.items()}
    trainings = [_training(stages[trial.id], marks[trial.id]) for trial in trials]
    groups = dict(zip((trial.id for trial in trials), trainings, strict=True))
    done_by_then: set[str] = set()
    looked = []
    for trial in spread(trials, trainings):
        one = _look(sweep, trial, stages[trial.id], marks[trial.id], done_by_then, groups[trial.id])
        done_by_then |= set(marks[trial.id].values())
        looked.append(one)
    return looked


def outlook_table(sweep: Sweep, looked: Sequence[Outlook]) -> str:
    """A line for each trial."""
    spec = sweep.spec
    if not looked:
        return f"{spec.trials} trials, whose values Optuna chooses as they come: {', '.join(spec.search)}"
    rows = [("trial", "runs", "trained or made by a trial above", "reuses what is done")]
    for one in looked:
        runs = "nothing: it is finished" if one.finished else _listed(one.runs)
        rows.append((one.trial.label, runs, _listed(one.shares), _listed(one.reuses)))
    rungs = ", ".join(f"{share:.3g}" for share in spec.shares)
    asha = f"\n\nasha: judged after {rungs} of the training; the table is of the last" if len(spec.shares) > 1 else ""
    return f"{table(rows)}{asha}\n\nresults: {sweep.folder}"


def _stages(sweep: Sweep, trial: Trial, stages_of: StagesOf, contents: Contents) -> tuple[ChainStage, ...]:
    """The chain with which the trial ends: of one that was given up, the last that it had."""
    record = read_record(sweep.folder, trial)
    share = record.share if record is not None and record.state == "stopped" else 1.0
    return judged_stages(stages_of(sweep.config(trial, share), contents))


def _look(
    sweep: Sweep, trial: Trial, stages: Sequence[ChainStage], marks: dict[str, str], made: set[str], training: str
) -> Outlook:
    record = read_record(sweep.folder, trial)
    planned = {one.stage.name: one.action for one in plan(stages, sweep.storage, None)}
    reuses = tuple(name for name, action in planned.items() if action == "reuse")
    missing = [name for name in planned if name not in reuses]
    return Outlook(
        trial=trial,
        finished=record is not None and record.state in FINAL and not missing,
        runs=tuple(name for name in missing if marks[name] not in made),
        shares=tuple(name for name in missing if marks[name] in made),
        reuses=reuses,
        training=training,
    )


def _training(stages: Sequence[ChainStage], marks: dict[str, str]) -> str:
    """What all that comes before the evaluation goes by."""
    judge = next(stage for stage in stages if stage.name == JUDGE)
    return digest([marks[name] for name in judge.inputs])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "–"
