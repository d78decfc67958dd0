"""What decides the bytes of a clip: settings, networks and this code's version, as one hash."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hia.config import Config
from hia.data.encoders import Encoders
from hia.data.storage import file_sha256

# To be raised whenever the same input would give other clips.
PREPROCESSING_VERSION = 1

# Settings that change which clips are listed where, or how fast they are made, but not the clips.
WITHOUT_EFFECT = ("layout", "split_seed", "test_share", "test_list")


def preprocessing_settings(config: Config, encoders: Encoders) -> dict[str, Any]:
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
    """Hex digest of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def content_sha256(location: Path) -> str:
    """Hex digest of a file's content, or of the names and contents of a folder's files (hidden ones left out).

    Raises OSError when something cannot be read.
    """
    if not location.is_dir():
        return file_sha256(location)
    files = sorted(path for path in location.rglob("*") if path.is_file() and not path.name.startswith("."))
    return fingerprint([[path.relative_to(location).as_posix(), file_sha256(path)] for path in files])
