"""The clip store: its file format, reading, records, statistics and the journal of a build."""

from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore, StoreError, open_store

__all__ = ["Clip", "ClipStore", "StoreError", "open_store"]
