"""The chain of stages: what is done is found again, what was begun goes on, what has changed runs.

A stage's fingerprint is a hash of what it reads of the configuration, of its inputs' content and of its version. Its
folder is named after that, so that nothing has to be remembered: `planning` looks what is there, `execution` runs what
is missing, `reasons` says why.
"""

from orchestration.chain.execute import Chain, Executed
from orchestration.chain.plan import Plan, Planned, Selection, plan, stages_up_to
from orchestration.chain.stage import ChainError, ChainStage, ExplainedFailure, StageFailed, StageRun, fingerprint
from orchestration.chain.stage_folder import StageFolder

__all__ = [
    "Chain",
    "ChainError",
    "ChainStage",
    "Executed",
    "ExplainedFailure",
    "Plan",
    "Planned",
    "Selection",
    "StageFailed",
    "StageFolder",
    "StageRun",
    "fingerprint",
    "plan",
    "stages_up_to",
]
