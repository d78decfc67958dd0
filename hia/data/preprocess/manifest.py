"""The store's settings at the start of a run, and its manifest at the end, from what became of each video."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hia.config import Config, PreprocessConfig
from hia.data.ingest.splits import assign_split, names_of
from hia.data.ingest.videos import VideoSource
from hia.data.store.clip import Clip
from hia.data.store.clip_store import MANIFEST, REJECTED, STORE_FORMAT, STORE_VERSION, StoreError, manifest_text
from hia.data.store.journal import Journal
from hia.data.store.records import ClipInfo, Rejection, Split, VideoResult, to_json
from hia.data.store.statistics import store_statistics
from hia.io.files import Folder
from hia.io.hashing import bytes_sha256, file_sha256

if TYPE_CHECKING:  # brings the networks
    from hia.data.preprocess.encoders import Encoders

SETTINGS = "settings.json"
MOST_NAMED = 3
# To be raised whenever the same input would give other clips.
PREPROCESSING_VERSION = 1
# Settings that change which clips are listed where, or how fast they are made, but not the clips.
WITHOUT_EFFECT = ("layout", "split_seed", "test_share", "test_list")


def begin_store(folder: Folder, settings: dict[str, Any]) -> None:
    """Note the settings in a new store, or compare them with those of one in which something has been noted.

    Raises StoreError when they differ, and for a folder with anything else in it: a store clears up within itself.
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


def _known_settings(folder: Folder) -> dict[str, Any] | None:
    """The settings of the store that is in a folder; None when the folder is empty."""
    if not folder.exists(SETTINGS):
        if strange := [name for name in folder.names("") if not name.startswith(".")]:
            raise StoreError(
                f"{folder} is no clip store, and not empty ({shortened(strange)}): "
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


def assemble(
    folder: Folder,
    settings: dict[str, Any],
    config: PreprocessConfig,
    current: Mapping[str, str],
    retriable: Iterable[Rejection],
    ignored: Mapping[str, int],
    test_list: frozenset[str] | None = None,
) -> list[str]:
    """Write manifest and list of rejections from all results in the journal; drop what nothing refers to any more.

    current: key by name of this run's videos: an older result under such a name is of a file that has changed.
    retriable: rejections of this run that no result holds. ignored: other files among the inputs, by suffix.
    test_list: what is for testing, see `assign_split`. Returns what is worth telling of videos of earlier runs and of
    the list.
    """
    journal = Journal(folder)
    results, changed = _current_results(journal, current)
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
    return _notes(results, changed, current, test_list)


def _current_results(journal: Journal, current: Mapping[str, str]) -> tuple[list[VideoResult], list[str]]:
    """The results that hold, and the names of videos whose older results were dropped."""
    results, changed = [], []
    for result in journal.results():
        if current.get(result.name, result.key) == result.key:
            results.append(result)
        else:
            changed.append(result.name)
            journal.forget(result.key)
    return results, changed


def _notes(
    results: Sequence[VideoResult],
    changed: Sequence[str],
    current: Mapping[str, str],
    test_list: frozenset[str] | None,
) -> list[str]:
    """What became of videos of earlier runs, and names in the test list that fit no video; without any, nothing."""
    kept = [result.name for result in results if result.name not in current]
    known = {name for result in results for name in names_of(_source(result))}
    strange = sorted((test_list or frozenset()) - known)
    said = [
        (changed, "videos have changed under their names, what an earlier run made of them is gone"),
        (kept, "videos of earlier runs are not among these inputs, and stay in the store"),
        (strange, "names in the test list fit no video in the store"),
    ]
    return [f"{len(names)} {what}: {shortened(sorted(names))}" for names, what in said if names]


def _with_splits(
    results: Sequence[VideoResult], config: PreprocessConfig, test_list: frozenset[str] | None
) -> Iterator[ClipInfo]:
    for result in results:
        split: Split = assign_split(_source(result), config.split_seed, config.test_share, test_list)
        for clip in result.clips:
            yield dataclasses.replace(clip, split=split)


def _source(result: VideoResult) -> VideoSource:
    return VideoSource(name=result.name, location=result.name, group=result.group, split=result.split)


def shortened(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Paths of the values that differ, such as `preprocess.fps: 25 → 30`."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [
            found for key in keys for found in _differences(one.get(key), other.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if one == other else [f"{path}: {one} there, {other} now"]


def preprocessing_settings(config: Config, encoders: "Encoders") -> dict[str, Any]:
    """All that decides what preprocessing makes of given files, as plain values for the manifest.

    Networks count by the hash of their weights, not by the names of their files; the pose models count in the key of
    each video whose keypoints they estimate.
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


def fingerprint(*parts: Any) -> str:
    """Hex digest of plain values, in the encoding that the clip keys of existing stores have."""
    return bytes_sha256(json.dumps(parts, sort_keys=True).encode())


def content_sha256(location: Path) -> str:
    """Hex digest of a file's content, or of the names and contents of a folder's files (hidden ones left out).

    Raises OSError when something cannot be read.
    """
    if not location.is_dir():
        return file_sha256(location)
    files = sorted(path for path in location.rglob("*") if path.is_file() and not path.name.startswith("."))
    return fingerprint([[path.relative_to(location).as_posix(), file_sha256(path)] for path in files])
