"""The store's settings at the start of a run, and its manifest at the end, from what became of each video."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hia.data.clip import Clip
from hia.data.fingerprint import fingerprint
from hia.data.journal import Journal
from hia.data.records import ClipInfo, Rejection, Split, VideoResult, to_json
from hia.data.settings import PreprocessConfig
from hia.data.sources import VideoSource
from hia.data.splits import assign_split, read_list
from hia.data.statistics import store_statistics
from hia.data.storage import Folder
from hia.data.store import MANIFEST, REJECTED, STORE_FORMAT, STORE_VERSION, StoreError, manifest_text

SETTINGS = "settings.json"


def begin_store(folder: Folder, settings: dict[str, Any]) -> None:
    """Note the settings in a new store, or compare them with an old one's. Raises StoreError when they differ."""
    content = {"format": STORE_FORMAT, "version": STORE_VERSION, "settings": settings}
    if not folder.exists(SETTINGS):
        if folder.exists(MANIFEST):
            raise StoreError(f"{folder}: it has a {MANIFEST} but no {SETTINGS}; choose another folder")
        folder.write(SETTINGS, json.dumps(content, indent=1, sort_keys=True).encode())
        return
    try:
        present = json.loads(folder.read(SETTINGS))
        version, known = present["version"], dict(present["settings"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{folder}/{SETTINGS} is damaged; remove the store, or choose another folder") from None
    if version != STORE_VERSION:
        raise StoreError(
            f"{folder}: a store of version {version}, this program makes {STORE_VERSION}: choose another folder"
        )
    if known != settings:
        raise StoreError(
            f"{folder}: this store was made with other settings ({', '.join(_differences(known, settings))}). Use "
            "those, choose another folder, or remove the store"
        )


def assemble(
    folder: Folder,
    settings: dict[str, Any],
    config: PreprocessConfig,
    current: Mapping[str, str],
    retriable: Iterable[Rejection],
    ignored: Mapping[str, int],
) -> None:
    """Write manifest and list of rejections from all results in the journal; drop what nothing refers to any more.

    current: key by name of this run's videos: an older result under such a name is of a file that has changed.
    retriable: rejections of this run that no result holds. ignored: other files among the inputs, by suffix.
    """
    journal = Journal(folder)
    results = list(_current_results(journal, current))
    test_list = read_list(config.test_list) if config.test_list else None
    clips = sorted(_with_splits(results, config, test_list), key=lambda clip: (clip.video, clip.first_frame, clip.id))
    rejected = [rejection for result in results for rejection in result.rejected] + list(retriable)
    rejected.sort(key=lambda one: (one.video, one.first_time or 0.0, one.reason, one.message))
    opened = (Clip(folder.local(clip.file, clip.sha256), clip) for clip in clips)
    statistics = store_statistics(opened, rejected) | {"ignored_files": dict(sorted(ignored.items()))}
    header = {
        "settings": settings,
        "fingerprint": fingerprint(settings, [clip.sha256 for clip in clips], [clip.split for clip in clips]),
        "statistics": statistics,
        "num_clips": len(clips),
    }
    folder.write(REJECTED, "".join(to_json(rejection) + "\n" for rejection in rejected).encode())
    folder.write(MANIFEST, manifest_text(header, map(to_json, clips)).encode())
    journal.remove_unused({clip.file for clip in clips})


def _current_results(journal: Journal, current: Mapping[str, str]) -> Iterator[VideoResult]:
    for result in journal.results():
        if current.get(result.name, result.key) == result.key:
            yield result
        else:
            journal.forget(result.key)


def _with_splits(
    results: Sequence[VideoResult], config: PreprocessConfig, test_list: frozenset[str] | None
) -> Iterator[ClipInfo]:
    for result in results:
        source = VideoSource(name=result.name, location="", group=result.group, split=result.split)
        split: Split = assign_split(source, config.split_seed, config.test_share, test_list)
        for clip in result.clips:
            yield dataclasses.replace(clip, split=split)


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Paths of the values that differ, such as `preprocess.fps: 25 → 30`."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [
            found for key in keys for found in _differences(one.get(key), other.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if one == other else [f"{path}: {one} there, {other} now"]
