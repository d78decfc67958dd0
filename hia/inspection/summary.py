"""Numbers of a clip store for its page: totals, distributions over clips and hands, and rejections."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo, Rejection
from hia.data.store.statistics import hand_speed
from hia.visualization.charts import Histogram

# Ticks of the sharpness, which is counted as log(1 + s).
SHARPNESS_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000)


class HandMeasures(NamedTuple):
    """Raw sharpness and speed of hands, float32 [n] and [m], where they are known, and the number of clips measured."""

    sharpness: NDArray[np.float32]
    speed: NDArray[np.float32]
    num_clips: int


class Rejections(NamedTuple):
    """Rejections of one reason. share: of their number in that of the most frequent reason."""

    reason: str
    rejected: Sequence[Rejection]
    share: float


def speed_of_hands(clip: Clip) -> NDArray[np.float32]:
    """Length of the movement |v| of each hand, float32 [N, 2 hands]; NaN where a hand has no box or v is not known.

    1 is a quarter of the frame in 1/30 s, see `hia.conditions.blur.hand_movement`.
    """
    known = hand_speed(clip.movement, clip.array("scores"))
    return np.where(np.isnan(clip.sharpness), np.float32(np.nan), known)


def hand_measures(clips: Iterable[Clip]) -> HandMeasures:
    """All measured hands of some clips."""
    pairs = [(clip.sharpness.ravel(), speed_of_hands(clip).ravel()) for clip in clips]
    nothing = np.zeros(0, np.float32)
    sharpness, speed = (np.concatenate([nothing, *(pair[which] for pair in pairs)]) for which in (0, 1))
    return HandMeasures(sharpness[~np.isnan(sharpness)], speed[~np.isnan(speed)], len(pairs))


def padding_share(info: ClipInfo) -> float:
    """Share of a clip's frames that is padding, in [0, 1]."""
    left, top, right, bottom = info.content
    return 1 - (right - left) * (bottom - top) / (info.width * info.height)


def totals(clips: Sequence[ClipInfo]) -> dict[str, Any]:
    """Videos, clips, frames and hours, as in a store's statistics."""
    return {
        "videos": len({info.video for info in clips}),
        "clips": len(clips),
        "frames": sum(info.num_frames for info in clips),
        "hours": sum(info.seconds for info in clips) / 3600,
    }


def totals_by_split(store: ClipStore) -> dict[str, dict[str, Any]]:
    """Totals of `train`, `test` and `all`, from the clips that the manifest lists."""
    splits = {split: totals(store.of_split(split)) for split in ("train", "test")}
    return splits | {"all": totals(store.clips)}


def overview(store: ClipStore) -> dict[str, str]:
    """The most important totals by their label."""
    count = totals(store.clips)
    train, test = (totals(store.of_split(split))["clips"] for split in ("train", "test"))
    return {
        "videos in the store": f"{count['videos']:,}",
        "clips": f"{count['clips']:,}",
        "together": _duration(3600 * count["hours"]),
        "frames": f"{count['frames']:,}",
        "clips to train / test": f"{train:,} / {test:,}",
        "rejected": f"{len(store.rejected):,}",
    }


def sharpness_percentiles(store: ClipStore) -> dict[str, tuple[float, float]]:
    """Percentiles of the training hands' sharpness by label, raw and as log(1 + s); none when there are too few."""
    scale = store.sharpness_scale
    if scale is None:
        return {}
    percentiles = {"5th percentile": scale.p5, "75th": scale.p75, "95th": scale.p95}
    return {label: (float(np.expm1(value)), value) for label, value in percentiles.items()}


def correlation(store: ClipStore) -> tuple[str, str] | None:
    """Spearman's ρ of hand speed and sharpness with its sign, and its meaning in words; None where it is not known."""
    rho = store.statistics.get("speed_sharpness_spearman")
    if rho is None:
        return None
    meaning = "faster hands are less sharp" if rho < 0 else "faster hands are not less sharp: is there motion blur?"
    return f"{rho:+.2f}".replace("-", "−"), meaning


def histograms(store: ClipStore, hands: HandMeasures) -> list[Histogram]:
    """Distributions over clips and over hands."""
    clips = store.clips
    return [
        _from_zero("Length of clips", [info.seconds for info in clips], "seconds"),
        _sharpness_histogram(store, hands),
        _speed_histogram(hands),
        Histogram("Hands seen", np.array([c.hands_seen for c in clips]), 0, 1, "share of a clip's frames", "clips"),
        _from_zero("Upscale", [info.upscale for info in clips], "clip pixels per source pixel"),
    ]


def rejections_by_reason(rejected: Sequence[Rejection]) -> list[Rejections]:
    """Rejections, the most frequent reason first."""
    by_reason = defaultdict(list)
    for rejection in rejected:
        by_reason[rejection.reason].append(rejection)
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Rejections(reason, group, len(group) / len(ordered[0][1])) for reason, group in ordered]


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _from_zero(title: str, values: Sequence[float], unit: str) -> Histogram:
    return Histogram(title, np.array(values, np.float64), 0, max(values, default=1) * 1.05, unit, "clips")


def _sharpness_histogram(store: ClipStore, hands: HandMeasures) -> Histogram:
    scale = store.sharpness_scale
    values = np.log1p(hands.sharpness.astype(np.float64))
    high = max([float(values.max(initial=1)), *([scale.p95] if scale else [])]) * 1.05
    ticks = {float(np.log1p(sharpness)): f"{sharpness:,}" for sharpness in SHARPNESS_TICKS}
    marks = {"p5": scale.p5, "p75": scale.p75, "p95": scale.p95} if scale else {}
    return Histogram(
        "Sharpness of hands", values, 0, high, "raw sharpness s, spaced by log(1 + s)", "hands", ticks, marks
    )


def _speed_histogram(hands: HandMeasures) -> Histogram:
    high = max(float(np.percentile(hands.speed, 99.5)), 0.01) if len(hands.speed) else 1.0
    unit = "speed |v|; 1 is a quarter of the frame in 1/30 s"
    return Histogram("Speed of hands", hands.speed, 0, high, unit, "hands")
