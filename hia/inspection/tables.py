"""The sections of the page that list things: clips, rejections, settings. All return HTML."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo, Rejection
from hia.inspection.sections import Sheet, padding_share
from hia.visualization.charts import share_bar
from hia.visualization.html import Cell, Row, escape, identifier, name, number, section, share, table

COLUMNS = (
    *("Video", "Clip", "Split", "From", "Length", "Frames", "fps", "Crop", "Upscale", "Padding"),
    *("Hands seen", "Face seen", "Inter&shy;polated", "Keypoints", "Sharpness", "Speed"),
)

# By this the page's script finds it.
CLIP_TABLE = "clip-table"


def clip_table(store: ClipStore, shown: Sequence[Sheet]) -> str:
    """All clips, with controls to filter them."""
    links = {sheet.info.id for sheet in shown}
    controls = (
        '<p class="controls" hidden><label>Filter <input type="search" id="filter" placeholder="video or clip"></label>'
        '<label>Split <select id="split"><option value="">all</option><option>train</option><option>test</option>'
        '</select></label><output id="count"></output></p>\n'
    )
    rows = table(COLUMNS, (_clip_row(info, info.id in links) for info in store.clips), css="clips", identity=CLIP_TABLE)
    return section("clips", "Clips", _about(store) + controls + rows)


def rejections(rejected: Sequence[Rejection]) -> str:
    """What is not in the store: a bar for each reason, which opens the list."""
    by_reason = defaultdict(list)
    for rejection in rejected:
        by_reason[rejection.reason].append(rejection)
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    most = max(map(len, by_reason.values()), default=0)
    parts = [_reason(reason, found, len(found) / most) for reason, found in ordered]
    return section("rejected", "Rejected", "\n".join(parts) or "<p>Nothing was rejected.</p>")


def settings(store: ClipStore) -> str:
    """How the store was made, and what else lay beside the videos."""
    shown = [(key, json.dumps(value, ensure_ascii=False)) for key, value in _flat(store.settings)]
    rows = [[f"<code>{escape(key)}</code>", f"<code>{escape(value)}</code>"] for key, value in shown]
    content = table(["Key", "Value"], rows, css="settings")
    ignored = store.statistics.get("ignored_files") or {}
    if ignored:
        kinds = ", ".join(f"{count:,} × {name(suffix or 'no suffix')}" for suffix, count in sorted(ignored.items()))
        content += f"<p>Other files among the videos, passed by: {kinds}.</p>"
    return section("settings", "Settings", content)


def _about(store: ClipStore) -> str:
    sizes = ", ".join(sorted({f"{info.width}×{info.height} px" for info in store.clips}))
    return (
        f"<p>{f'Clips of {sizes}.' if sizes else 'The store has no clips.'} Crop: left, top and size in the source's "
        "pixels. Interpolated: share of the keypoints. Sharpness is the median over hands and frames, speed the 95th "
        "percentile.</p>\n"
    )


def _clip_row(info: ClipInfo, has_sheet: bool) -> Row:
    short = f"<code>{escape(info.id[:10])}</code>"
    link = f'<a href="#sheet-{identifier(info.id)}">{short}</a>' if has_sheet else short
    left, top, width, height = info.crop
    return [
        *(name(info.video), f'<span title="{escape(info.id)}">{link}</span>', escape(info.split)),
        *(number(info.first_time, 2, " s"), number(info.seconds, 2, " s"), number(info.num_frames)),
        Cell(f"{info.fps:g}", info.fps),
        Cell(f"{left:.0f}, {top:.0f}, {width:.0f}×{height:.0f}", width * height),
        *(number(info.upscale, 2, "×"), share(padding_share(info)), share(info.hands_seen), share(info.face_seen)),
        *(share(info.filled), escape(info.keypoint_source)),
        *(_optional(info.sharpness, 1), _optional(info.speed, 3)),
    ]


def _optional(value: float | None, digits: int) -> Cell:
    return Cell("–", -1) if value is None else number(value, digits)


def _reason(reason: str, found: Sequence[Rejection], share_of_most: float) -> str:
    rows: list[Row] = [[name(one.video), _span(one), escape(" ".join(one.message.split()))] for one in found]
    return (
        f"<details><summary><code>{escape(reason)}</code>{share_bar(share_of_most)}<b>{len(found):,}</b></summary>\n"
        f"{table(['Video', 'Part', 'Why'], rows)}</details>"
    )


def _span(rejection: Rejection) -> Cell:
    if rejection.first_time is None:
        return Cell("whole video")
    end = "end" if rejection.end_time is None else f"{rejection.end_time:.2f} s"
    return Cell(f"{rejection.first_time:.2f} – {end}")


def _flat(settings_of: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings under dotted keys, sorted."""
    pairs = []
    for key, value in sorted(settings_of.items()):
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(prefix + key, value)]
    return pairs
