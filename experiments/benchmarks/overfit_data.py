"""Training data of the overfitting benchmark: clips without the frames by which it is judged."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from hia.config import Config
from hia.data.preprocess.build_store import build_store
from hia.data.store.clip import Clip, serialise_clip
from hia.data.store.clip_store import MANIFEST, ClipStore, manifest_text, open_store
from hia.data.store.records import to_json
from hia.data.store.statistics import store_statistics
from hia.io.files import Folder
from hia.io.hashing import key_digest
from hia.pose.keypoint_files import load_keypoints, save_keypoints
from hia.pose.keypoints import HANDS, SCORE_THRESHOLD, KeypointSequence
from hia.video import read_frames, write_video

EVERY = 10
LAST_SHARE = 5
# Of a crop around the hands: its share of the video's width.
CROP_SHARE = 0.5


@dataclass(frozen=True)
class Material:
    """whole: a store of the clips; training: the same clips without the frames that are kept out."""

    whole: ClipStore
    training: ClipStore

    def clips(self) -> Iterable[Clip]:
        """The whole clips."""
        return (self.whole.read(info) for info in self.whole.clips)


def kept_out(num_frames: int) -> list[int]:
    """Every tenth frame and the last fifth of a clip; never frame 0, which is the reference."""
    last = num_frames - num_frames // LAST_SHARE
    return [frame for frame in range(1, num_frames) if frame >= last or frame % EVERY == EVERY - 1]


def prepare(videos: Sequence[str], folder: Path, config: Config) -> Material:
    """Preprocess the videos into `folder`. Raises ValueError when one of them cannot be used, and says why."""
    built = build_store(videos, str(folder / "whole"), config)
    if built.store.rejected:
        reasons = "; ".join(f"{one.video}: {one.message}" for one in built.store.rejected)
        raise ValueError(f"not every video can be used: {reasons}")
    return Material(built.store, without_frames(built.store, folder / "training"))


def without_frames(store: ClipStore, folder: Path) -> ClipStore:
    """A copy of the store that lacks the frames of `kept_out`; movement and sharpness stay as they were measured.

    In a clip of the copy the frames before and after a missing one are neighbours. The percentiles of sharpness are
    those of the frames that are left.
    """
    output = Folder(folder)
    infos = []
    for info in store.clips:
        arrays = _without(load_file(store.read(info).path), kept_out(info.num_frames))
        content = serialise_clip(info.id, arrays)
        output.write(info.file, content)
        digest = hashlib.sha256(content).hexdigest()
        frames = len(arrays["keypoints"])
        infos.append(dataclasses.replace(info, bytes=len(content), sha256=digest, num_frames=frames))
    header = {
        "settings": store.settings,
        "fingerprint": key_digest(store.settings, [info.sha256 for info in infos]),
        "statistics": store_statistics((Clip(folder / info.file, info) for info in infos), []),
        "num_clips": len(infos),
    }
    output.write(MANIFEST, manifest_text(header, map(to_json, infos)).encode())
    return open_store(folder)


def _without(arrays: Mapping[str, NDArray], frames: Sequence[int]) -> dict[str, NDArray]:
    """A clip's arrays, see `hia.data.store.clip.Clip`, without some of its frames."""
    kept = np.setdiff1d(np.arange(len(arrays["keypoints"])), frames)
    by_frame = {name: array[kept] for name, array in arrays.items() if len(array) == len(arrays["keypoints"])}
    offsets = arrays["offsets"]
    pictures = [arrays["jpeg"][offsets[frame] : offsets[frame + 1]] for frame in kept]
    lengths = [len(picture) for picture in pictures]
    changed = by_frame | {
        "jpeg": np.concatenate(pictures),
        "offsets": np.cumsum([0, *lengths]).astype(offsets.dtype),
    }
    if "face_frames" in arrays:
        stay = np.isin(arrays["face_frames"], kept)
        changed["face_frames"] = np.searchsorted(kept, arrays["face_frames"][stay])
        changed["face_embeddings"] = arrays["face_embeddings"][stay]
    return changed


def around_hands(video: Path, keypoints: Path, config: Config, folder: Path) -> Path:
    """A crop of a video in the configuration's aspect ratio, half as wide, about where the hands are.

    Written into `folder` with its keypoints beside it. In a small model, the hands of a whole person are too few pixels
    to be sharp or blurred. Raises ValueError when the file's keypoints are not those of the video.
    """
    people = load_keypoints(keypoints)
    left, top, width, height = _crop(people, config)
    frames = [frame[top : top + height, left : left + width] for frame in read_frames(video)]
    if len(frames) != len(people):
        raise ValueError(f"{keypoints} has keypoints of {len(people)} frames, {video} has {len(frames)} frames")
    moved = people.keypoints - np.array([left, top], np.float32)
    output = folder / video.name
    write_video(output, frames, people.fps)
    save_keypoints(KeypointSequence(moved, people.scores, width, height, people.fps), output.with_suffix(".npz"))
    return output


def _crop(people: KeypointSequence, config: Config) -> tuple[int, int, int, int]:
    """Left, top, width and height, even numbers of px."""
    width = int(people.width * CROP_SHARE) // 2 * 2
    height = min(people.height, round(width * config.height / config.width)) // 2 * 2
    hands = np.concatenate([people.keypoints[:, hand][people.scores[:, hand] >= SCORE_THRESHOLD] for hand in HANDS])
    centre_x, centre_y = np.median(hands, axis=0)
    left = int(np.clip(centre_x - width / 2, 0, people.width - width))
    top = int(np.clip(centre_y - height / 2, 0, people.height - height))
    return left, top, width, height
