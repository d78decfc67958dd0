"""The chain of stages: finished stages are reused, unfinished ones resumed, changed ones run.

A stage's fingerprint is a hash of what it reads of the configuration, of its inputs' content and of its version. Its
folder is named after that, so that no record of what is done is needed: `plan` compares the stages with the folders and
says why one runs, `execute` runs what is missing, `stage_folder` keeps a stage's notes and lock.
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
