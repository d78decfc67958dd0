"""The clip store: its file formats, reading, records, statistics, and the journal of a run."""

from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore, StoreError, open_store

__all__ = ["Clip", "ClipStore", "StoreError", "open_store"]
