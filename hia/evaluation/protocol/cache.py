"""Cached scores and results of single videos, from which an interrupted evaluation continues.

Each has a mark, a digest of everything that it depends on; a result with another mark is computed again.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hia.evaluation.metrics import Metrics
from hia.evaluation.scores import Features, Figure, VideoScores
from hia.io.files import Folder, atomic_directory, remove_aside
from hia.io.hashing import key_digest

# To be raised whenever the same videos would get other scores, or the same clips other videos.
SCORES_VERSION = GENERATED_VERSION = 1
MARK = "mark.json"
NOTE = "hia-scores"


def settings_digest(metrics: Metrics) -> str:
    """A digest of everything that the scores of given videos depend on."""
    networks = {
        name: [network.key, network.provenance.variant, sorted(network.provenance.files.values())]
        for name, network in metrics.networks.items()
    }
    return key_digest(SCORES_VERSION, sorted(metrics.names), networks, asdict(metrics.measuring))


def save_scores(path: Path, scores: VideoScores, mark: str) -> None:
    """Write a video's scores, whole or not at all: figures as JSON, features as float32 arrays."""
    arrays = {
        f"{key}/{side}": np.ascontiguousarray(rows, np.float64 if rows.dtype == np.float64 else np.float32)
        for key, features in scores.features.items()
        for side, rows in features._asdict().items()
    }
    note = {
        "mark": mark,
        "name": scores.name,
        "num_frames": scores.num_frames,
        "figures": {name: [figure.value, figure.count] for name, figure in scores.figures.items()},
        "features": list(scores.features),
        "left_out": dict(scores.left_out),
    }
    Folder(path.parent).write(path.name, save(arrays, metadata={NOTE: json.dumps(note)}))


def load_scores(path: Path, mark: str | None = None) -> VideoScores | None:
    """Load saved scores; None when there are none with this mark (None: any), or the file is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            note = json.loads(file.metadata()[NOTE])
            if mark not in (None, note["mark"]):
                return None
            features = {
                key: Features(file.get_tensor(f"{key}/generated"), file.get_tensor(f"{key}/real"))
                for key in note["features"]
            }
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    figures = {name: Figure(value, count) for name, (value, count) in note["figures"].items()}
    return VideoScores(note["name"], note["num_frames"], figures, features, note["left_out"])


def is_cached(folder: Path, mark: str) -> bool:
    """True if a folder was completed by `cached_directory` with this mark."""
    try:
        return bool(json.loads((folder / MARK).read_text(encoding="utf-8"))["mark"] == mark)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def cached_directory(folder: Path, mark: str, about: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary folder to fill, which then replaces `folder`, or is removed after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_aside(folder.parent)
    with atomic_directory(folder) as aside:
        yield aside
        (aside / MARK).write_text(json.dumps({"mark": mark, **about}, ensure_ascii=False), encoding="utf-8")
