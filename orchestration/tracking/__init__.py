"""Tracking with MLflow: a run per pipeline, a child run per stage, found again by their fingerprints.

Nothing here depends on the server being there all the time: questions wait for it, and what a stage measures lies in
its journal until the server has it.
"""

from orchestration.tracking.connection import connect_tracking
from orchestration.tracking.experiment import Tracking
from orchestration.tracking.provenance import environment
from orchestration.tracking.retry import Server, TrackingRefused, TrackingUnavailable
from orchestration.tracking.runs import Run
from orchestration.tracking.uploader import JournalUploader

__all__ = [
    "JournalUploader",
    "Run",
    "Server",
    "Tracking",
    "TrackingRefused",
    "TrackingUnavailable",
    "connect_tracking",
    "environment",
]
