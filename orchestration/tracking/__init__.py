"""Tracking with MLflow: a run per pipeline, a child run per stage, found again by their fingerprints.

Nothing here depends on the server being there all the time: questions wait for it, and what a stage measures lies in
its journal until the server has it.
"""

from orchestration.tracking.connection import connect_tracking
from orchestration.tracking.environment import environment
from orchestration.tracking.following import Following
from orchestration.tracking.runs import Run
from orchestration.tracking.server import Server, TrackingAway, TrackingRefused
from orchestration.tracking.tracking import Tracking

__all__ = [
    "Following",
    "Run",
    "Server",
    "Tracking",
    "TrackingAway",
    "TrackingRefused",
    "connect_tracking",
    "environment",
]
