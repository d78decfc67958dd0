"""Inspection of a clip store: contact sheets and a page with its statistics. Not needed for training."""

from hia.inspection.report import choose_clips, find_clips, inspect_store

__all__ = ["choose_clips", "find_clips", "inspect_store"]
