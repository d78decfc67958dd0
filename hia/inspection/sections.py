"""The sections of the page with totals, statistics and pictures. All return HTML."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo
from hia.data.store.statistics import hand_speed
from hia.visualization.charts import Histogram, histogram_svg
from hia.visualization.html import Row, escape, identifier, name, number, section, table

# Ticks of the sharpness, which is counted as log(1 + s).
SHARPNESS_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000)


class HandMeasures(NamedTuple):
    """Raw sharpness and speed of hands, float32 [n] and [m], where they are known, and of how many clips they are."""

    sharpness: NDArray[np.float32]
    speed: NDArray[np.float32]
    num_clips: int


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


class Sheet(NamedTuple):
    """A clip's contact sheet: a JPEG in base64, its size in px, and the name of the PNG beside the page."""

    info: ClipInfo
    jpeg: str
    width: int
    height: int
    file: str


def overview(store: ClipStore) -> str:
    """The totals in large letters."""
    count = totals(store.clips)
    train, test = (totals(store.of_split(split))["clips"] for split in ("train", "test"))
    cards = {
        "videos in the store": f"{count['videos']:,}",
        "clips": f"{count['clips']:,}",
        "together": _duration(3600 * count["hours"]),
        "frames": f"{count['frames']:,}",
        "clips to train / test": f"{train:,} / {test:,}",
        "rejected": f"{len(store.rejected):,}",
    }
    return '<dl class="cards">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in cards.items()) + "</dl>\n"


def statistics(store: ClipStore) -> str:
    """Totals by split, percentiles of the sharpness, and its correlation with speed."""
    splits: list[Row] = [
        [split, number(count["videos"]), number(count["clips"]), number(count["frames"]), number(count["hours"], 4)]
        for split, count in totals_by_split(store).items()
    ]
    tables = [table(["Split", "Videos", "Clips", "Frames", "Hours"], splits, css="numbers"), _sharpness(store)]
    content = f'<div class="columns">{"".join(f"<div>{part}</div>" for part in tables)}</div>{_correlation(store)}'
    return section("statistics", "Statistics", content)


def distributions(store: ClipStore, hands: HandMeasures) -> str:
    """Histograms over clips and over hands."""
    clips = store.clips
    charts = [
        _from_zero("Length of clips", [info.seconds for info in clips], "seconds"),
        _sharpness_histogram(store, hands),
        _speed_histogram(hands),
        Histogram("Hands seen", np.array([c.hands_seen for c in clips]), 0, 1, "share of a clip's frames", "clips"),
        _from_zero("Upscale", [info.upscale for info in clips], "clip pixels per source pixel"),
    ]
    note = ""
    if hands.num_clips < len(clips):
        note = f"<p>Sharpness and speed are those of {hands.num_clips:,} clips, evenly over the store.</p>"
    grid = "\n".join(histogram_svg(chart) for chart in charts)
    return section("distributions", "Distributions", f'<div class="charts">\n{grid}\n</div>\n{note}')


def contact_sheets(sheets: Sequence[Sheet], num_clips: int) -> str:
    """The contact sheets, loaded when they come into view."""
    note = f"<p>{len(sheets):,} of {num_clips:,} clips. As PNG files they are beside this page.</p>\n"
    return section("sheets", "Contact sheets", note + "\n".join(map(_figure, sheets)))


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _sharpness(store: ClipStore) -> str:
    scale = store.sharpness_scale
    if scale is None:
        return "<p>There are too few hands in the training split for percentiles of the sharpness.</p>"
    percentiles = {"5th percentile": scale.p5, "75th": scale.p75, "95th": scale.p95}
    rows: list[Row] = [
        [label, number(float(np.expm1(value)), 2), number(value, 3)] for label, value in percentiles.items()
    ]
    return table(["Sharpness of hands to train", "s", "log(1 + s)"], rows, css="numbers")


def _correlation(store: ClipStore) -> str:
    hands, rho = store.statistics.get("hands"), store.statistics.get("speed_sharpness_spearman")
    counted = "" if hands is None else f" {hands:,} hands of the training split were measured."
    if rho is None:
        return f"<p>The correlation of hand speed and sharpness was not computed.{counted}</p>"
    meaning = "faster hands are less sharp" if rho < 0 else "faster hands are not less sharp: is there motion blur?"
    return (
        f"<p>Spearman's ρ of hand speed and sharpness, pooled within clips: <strong>{_signed(rho)}</strong> "
        f"({meaning}).{counted}</p>"
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


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


def _figure(sheet: Sheet) -> str:
    info = sheet.info
    described = f"Contact sheet of {info.video}, {info.seconds:.2f} s from {info.first_time:.2f} s"
    return (
        f'<figure class="sheet" id="sheet-{identifier(info.id)}"><figcaption>{name(info.video)} '
        f"<small>{info.first_time:.2f}–{info.first_time + info.seconds:.2f} s · {escape(info.split)} · "
        f"<code>{escape(sheet.file)}</code></small></figcaption>\n"
        f'<div class="scroll" tabindex="0"><img loading="lazy" decoding="async" width="{sheet.width}" '
        f'height="{sheet.height}" alt="{escape(described)}" src="data:image/jpeg;base64,{sheet.jpeg}"></div></figure>'
    )
