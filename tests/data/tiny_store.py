"""A small clip store, made by the functions that preprocessing uses, from real clips or from given frames."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hia.config.types import Split
from hia.data.preprocess.annotations import Arrays, measure_frames, measure_keypoints
from hia.data.preprocess.encoders import Encoders
from hia.data.store.clip import Clip, serialise_clip
from hia.data.store.clip_store import MANIFEST, REJECTED, manifest_text
from hia.data.store.records import ClipInfo, Rejection, to_json
from hia.data.store.statistics import store_statistics
from hia.images import Frame, fit_to_size
from hia.io.files import Folder
from hia.models.codec import PixelCodec
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FACE, KeypointSequence
from hia.video import read_frames
from tests.conftest import present

WIDTH, HEIGHT = 64, 112
TOKEN_DIMENSION, FACE_DIMENSION = 12, 8
# Parts of the shipped clips for those that only the large sample data have, with their length and rate.
STAND_INS = {
    "balance_man_lab": ("gesture_woman_bench", slice(0, 50), 30.0),
    "juggle_man_park": ("gesture_man_kitchen", slice(60, 120), 24.0),
    "sign_woman_home": ("gesture_woman_bench", slice(50, 108), 30.0),
}
FACELESS = "juggle_man_park"  # a face too small to be of use, which in its stand-in counts as not seen


@dataclass(frozen=True)
class TinyClip:
    """The content of a clip: keypoints of N frames, and the frames, uint8 [N, H, W, 3]."""

    video: str
    keypoints: KeypointSequence
    frames: Frame
    split: Split = "train"


def sample_clips(
    sample_data: Path,
    width: int = WIDTH,
    height: int = HEIGHT,
    names: Sequence[str] = ("balance_man_lab", "gesture_man_kitchen", "juggle_man_park", "sign_woman_home"),
    longest: int = 60,
) -> list[TinyClip]:
    """The first frames of real sample clips, or of their stand-ins, small; the last clip is of the test split."""
    clips = []
    for name in names:
        real = bool(present(sample_data, name))
        shown, part, fps = (name, slice(longest), None) if real else STAND_INS[name]
        frames = [fit_to_size(frame, width, height) for frame in read_frames(sample_data / "clips" / f"{shown}.mp4")]
        frames, whole = frames[part][:longest], load_keypoints(sample_data / "keypoints" / f"{shown}.npz")
        scores = whole.scores.copy()
        if not real and name == FACELESS:
            scores[:, FACE] = 0
        points, scores = whole.keypoints[part][:longest], scores[part][:longest]
        keypoints = replace(whole, keypoints=points, scores=scores, fps=fps or whole.fps).resized(width, height)
        split: Split = "test" if name == names[-1] else "train"
        clips.append(TinyClip(f"{name}.mp4", keypoints, np.stack(frames), split))
    return clips


def write_store(
    folder: Path,
    clips: Sequence[TinyClip],
    *,
    latent_sizes: Sequence[tuple[int, int]] = (),
    mirrored_latents: bool = True,
    codec_factor: int = 4,
    face_every: int = 0,
    tokens: bool = False,
    rejected: Sequence[Rejection] = (),
    jpeg_quality: int = 95,
) -> Path:
    """Write a store of these clips, all of one size, and return its folder.

    latent_sizes: (width, height) px of the latents of the pixel codec, of frames and mirrored frames. face_every: a
    face embedding of every so many frames with a usable face, 0 for none. tokens: image tokens. Embeddings and tokens
    are made up: see `made_up`.
    """
    store = Folder(folder)
    infos: list[ClipInfo] = []
    for number, clip in enumerate(clips):
        arrays = measure_keypoints(clip.keypoints, np.zeros(clip.keypoints.scores.shape, bool))
        codec = PixelCodec(codec_factor) if latent_sizes else None
        encoders = Encoders(codec=codec, latent_sizes=tuple(latent_sizes), mirrored_latents=mirrored_latents)
        encoder = encoders.begin(arrays["five_points"], arrays["face_usable"])
        arrays |= measure_frames(encoder.tee(clip.frames), arrays["hand_boxes"], jpeg_quality)
        arrays |= encoder.finish() | _made_up(len(clip.frames), arrays["face_usable"], face_every, tokens)
        content = serialise_clip(f"clip{number:03d}", arrays)
        infos.append(_info(f"clip{number:03d}", clip, arrays, content))
        store.write(infos[-1].file, content)
    codec_settings = {"kind": "pixel", "factor": codec_factor, "latents_mean": None, "latents_std": None}
    header = {
        "settings": {
            "width": clips[0].keypoints.width,
            "height": clips[0].keypoints.height,
            "latent_sizes": [list(size) for size in latent_sizes],
            "codec": codec_settings if latent_sizes else None,
        },
        "statistics": store_statistics((Clip(folder / info.file, info) for info in infos), rejected),
        "fingerprint": hashlib.sha256("".join(info.sha256 for info in infos).encode()).hexdigest(),
        "num_clips": len(infos),
    }
    store.write(MANIFEST, manifest_text(header, map(to_json, infos)).encode())
    store.write(REJECTED, "".join(to_json(rejection) + "\n" for rejection in rejected).encode())
    return Path(folder)


def made_up(frame: int, mirrored: bool, dimension: int) -> NDArray[np.float32]:
    """An embedding that encodes its frame and side: [frame, mirrored, 1, 1, …], float32 [dimension]."""
    return np.array([frame, mirrored, *[1] * (dimension - 2)], np.float32)


def _made_up(num_frames: int, usable: NDArray[np.bool_], face_every: int, tokens: bool) -> Arrays:
    def both_sides(frames: Sequence[int], dimension: int) -> NDArray[np.float32]:
        sides = [[made_up(frame, side, dimension) for side in (False, True)] for frame in frames]
        return np.array(sides, np.float32).reshape(-1, 2, dimension)

    arrays: Arrays = {}
    if tokens:
        arrays["image_tokens"] = both_sides(range(num_frames), TOKEN_DIMENSION).astype(np.float16)
    if face_every:
        frames = [frame for frame in range(0, num_frames, face_every) if usable[frame]]
        arrays["face_frames"] = np.array(frames, np.int64)
        arrays["face_embeddings"] = both_sides(frames, FACE_DIMENSION)
    return arrays


def _info(clip_id: str, clip: TinyClip, arrays: Arrays, content: bytes) -> ClipInfo:
    keypoints, sharpness = clip.keypoints, arrays["sharpness"]
    measured = not np.isnan(sharpness).all()
    speed = np.linalg.norm(arrays["movement"], axis=-1)
    return ClipInfo(
        id=clip_id,
        file=f"clips/{clip_id[:2]}/{clip_id}.safetensors",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        video=clip.video,
        split=clip.split,
        first_frame=0,
        end_frame=len(keypoints),
        first_time=0.0,
        num_frames=len(keypoints),
        fps=keypoints.fps,
        width=keypoints.width,
        height=keypoints.height,
        crop=(0.0, 0.0, float(keypoints.width), float(keypoints.height)),
        content=(0, 0, keypoints.width, keypoints.height),
        upscale=1.0,
        hands_seen=float((arrays["hand_boxes"][..., 0] >= 0).any(axis=1).mean()),
        face_seen=float((arrays["face_boxes"][:, 0] >= 0).mean()),
        filled=float(arrays["filled"].mean()),
        keypoint_source="sidecar",
        sharpness=float(np.nanmedian(sharpness)) if measured else None,
        speed=float(np.percentile(speed, 95)) if measured else None,
    )
