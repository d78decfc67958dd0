"""Tracking with MLflow: a run per pipeline, a child run per stage, found again by their fingerprints.

The server need not be reachable all the time: requests are repeated until it answers, and metrics stay in the stage's
journal until the server has them.
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
