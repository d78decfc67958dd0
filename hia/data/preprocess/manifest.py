"""Settings and manifest of a store: the settings are noted when a run begins, the manifest is written at its end."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hia.config import Config, PreprocessConfig
from hia.data.ingest.splits import assign_splits, names_of
from hia.data.ingest.videos import VideoSource
from hia.data.store.clip import Clip
from hia.data.store.clip_store import MANIFEST, REJECTED, STORE_FORMAT, STORE_VERSION, StoreError, manifest_text
from hia.data.store.journal import Journal
from hia.data.store.records import ClipInfo, Rejection, VideoResult, to_json
from hia.data.store.statistics import store_statistics
from hia.io.files import Folder
from hia.io.hashing import key_digest

if TYPE_CHECKING:  # brings the networks
    from hia.data.preprocess.encoders import Encoders

SETTINGS = "settings.json"
MOST_NAMED = 3
# Raise this whenever the same input would give other clips.
PREPROCESSING_VERSION = 1
# Settings that change only which videos are found or how clips are split, not the clips themselves.
WITHOUT_EFFECT = ("layout", "split_seed", "test_share", "test_list")


def begin_store(folder: Folder, settings: dict[str, Any]) -> None:
    """Write the settings to a new store, or compare them with those of an existing one that has content.

    Raises StoreError when they differ. Raises it, too, when the folder has other content, because a run removes files
    in the store's folder that it does not use.
    """
    known = _known_settings(folder)
    if known is None or (known != settings and not _has_notes(folder)):
        content = {"format": STORE_FORMAT, "version": STORE_VERSION, "settings": settings}
        folder.write(SETTINGS, json.dumps(content, indent=1, sort_keys=True).encode())
    elif known != settings:
        raise StoreError(
            f"{folder}: this store was made with other settings ({', '.join(_differences(known, settings))}). Use "
            "those, choose another folder, or remove the store"
        )


def preprocessing_settings(config: Config, encoders: "Encoders") -> dict[str, Any]:
    """All settings that determine the clips of given files, as plain values for the manifest.

    Networks are represented by hashes of their weights, not by file names. The pose models are not among them: they
    are part of the key of each video whose keypoints they estimate.
    """
    preprocess = {key: value for key, value in asdict(config.preprocess).items() if key not in WITHOUT_EFFECT}
    pose = preprocess.pop("pose")
    kept = {"source": pose["source"], "detect_every": pose["detect_every"]}
    codec = asdict(config.codec) if encoders.codec is not None else None
    return json.loads(
        json.dumps(
            {
                "version": PREPROCESSING_VERSION,
                "width": config.width,
                "height": config.height,
                "preprocess": preprocess | {"pose": kept},
                "codec": codec and {key: value for key, value in codec.items() if key != "weights"},
                "latent_sizes": encoders.latent_sizes,
                "mirrored_latents": encoders.mirrored_latents,
                "networks": encoders.fingerprint(),
            }
        )
    )


def assemble(
    folder: Folder,
    settings: dict[str, Any],
    config: PreprocessConfig,
    current: Mapping[str, str],
    retriable: Iterable[Rejection],
    ignored: Mapping[str, int],
    test_list: frozenset[str] | None = None,
) -> list[str]:
    """Write the manifest and the rejections from all results in the journal, and remove unused files.

    current: keys of this run's videos by name: an older result under such a name is of a file that has changed.
    retriable: rejections of this run that are in no result. ignored: counts of other files among the inputs, by suffix.
    test_list: names of the test split, see `assign_splits`. Returns notes for people about videos of earlier runs,
    the list, and an empty test split.
    """
    journal = Journal(folder)
    results, changed = _current_results(journal, current)
    clips = sorted(_with_splits(results, config, test_list), key=lambda clip: (clip.video, clip.first_frame, clip.id))
    rejected = [rejection for result in results for rejection in result.rejected] + list(retriable)
    rejected.sort(key=_rejection_order)
    opened = (Clip(folder.local(clip.file, clip.sha256), clip) for clip in clips)
    statistics = store_statistics(opened, rejected) | {"ignored_files": dict(sorted(ignored.items()))}
    header = {
        "settings": settings,
        "fingerprint": key_digest(settings, [clip.sha256 for clip in clips], [clip.split for clip in clips]),
        "statistics": statistics,
        "num_clips": len(clips),
    }
    folder.write(REJECTED, "".join(to_json(rejection) + "\n" for rejection in rejected).encode())
    folder.write(MANIFEST, manifest_text(header, map(to_json, clips)).encode())
    journal.remove_unused({clip.file for clip in clips})
    notes = _notes(results, changed, current, test_list)
    if clips and all(clip.split == "train" for clip in clips) and (config.test_share or test_list is not None):
        notes.append("0 videos to test: all that have clips are for training, and only those can be evaluated")
    return notes


def _known_settings(folder: Folder) -> dict[str, Any] | None:
    """The settings of the store in a folder; None when the folder is empty. Raises StoreError for other content."""
    if not folder.exists(SETTINGS):
        if others := [name for name in folder.names("") if not name.startswith(".")]:
            raise StoreError(
                f"{folder} is no clip store, and not empty ({_first_few(others)}): "
                "choose a new folder, which may be one within it"
            )
        return None
    try:
        present = json.loads(folder.read(SETTINGS))
        if present["format"] != STORE_FORMAT:
            raise StoreError(f"{folder} is no clip store: its {SETTINGS} is of something else. Choose a new folder")
        version, known = present["version"], dict(present["settings"])
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{folder}/{SETTINGS} is damaged or not that of a clip store: choose a new folder") from None
    if version != STORE_VERSION:
        raise StoreError(
            f"{folder}: a store of version {version}, this program makes {STORE_VERSION}: choose another folder"
        )
    return known


def _has_notes(folder: Folder) -> bool:
    return folder.exists(MANIFEST) or any(folder.names(part) for part in ("videos", "work", "clips"))


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Paths of the values that differ, such as `preprocess.fps: 25 → 30`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        parts = (_differences(before.get(key), now.get(key), f"{path}.{key}".strip(".")) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if before == now else [f"{path}: {before} there, {now} now"]


def _current_results(journal: Journal, current: Mapping[str, str]) -> tuple[list[VideoResult], list[str]]:
    """The current results, and the names of videos whose outdated results were dropped."""
    results, changed = [], []
    for result in journal.results():
        if current.get(result.name, result.key) == result.key:
            results.append(result)
        else:
            changed.append(result.name)
            journal.forget(result.key)
    return results, changed


def _rejection_order(rejection: Rejection) -> tuple[str, float, str, str]:
    return rejection.video, rejection.first_time or 0.0, rejection.reason, rejection.message


def _with_splits(
    results: Sequence[VideoResult], config: PreprocessConfig, test_list: frozenset[str] | None
) -> Iterator[ClipInfo]:
    used = [result for result in results if result.clips]
    splits = assign_splits([_source(result) for result in used], config.split_seed, config.test_share, test_list)
    for result, split in zip(used, splits, strict=True):
        for clip in result.clips:
            yield dataclasses.replace(clip, split=split)


def _source(result: VideoResult) -> VideoSource:
    return VideoSource(name=result.name, location=result.name, group=result.group, split=result.split)


def _notes(
    results: Sequence[VideoResult],
    changed: Sequence[str],
    current: Mapping[str, str],
    test_list: frozenset[str] | None,
) -> list[str]:
    """Notes about videos of earlier runs, and about names in the test list that match no video; may be empty."""
    kept = [result.name for result in results if result.name not in current]
    known = {name for result in results for name in names_of(_source(result))}
    unknown = sorted((test_list or frozenset()) - known)
    notes = [
        (changed, "videos have changed under their names, what an earlier run made of them is gone"),
        (kept, "videos of earlier runs are not among these inputs, and stay in the store"),
        (unknown, "names in the test list fit no video in the store"),
    ]
    return [f"{len(names)} {note}: {_first_few(sorted(names))}" for names, note in notes if names]


def _first_few(names: Sequence[str]) -> str:
    """The first few of some names, as text."""
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
