"""The report about a clip store: a folder with a page and contact sheets of some of its clips."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from hia.data.store.clip_store import ClipStore
from hia.data.store.records import ClipInfo
from hia.images import Frame
from hia.inspection.contact_sheet import contact_sheet
from hia.inspection.summary import (
    HandMeasures,
    correlation,
    hand_measures,
    histograms,
    overview,
    padding_share,
    rejections_by_reason,
    sharpness_percentiles,
    totals_by_split,
)
from hia.io.files import Folder
from hia.visualization.charts import histogram_chart
from hia.visualization.html import flat_settings, identifier, render

PAGE, SHEETS = "index.html", "sheets"
# Number of clips, evenly over the store, that are read for the histograms of hands.
MEASURED_CLIPS = 2000
# Of the copies in the page; the PNG files are lossless.
JPEG_QUALITY = 82
LINKS = ("statistics", "distributions", "sheets", "clips", "rejected", "settings")


class Sheet(NamedTuple):
    """A clip's contact sheet: a JPEG in base64, its size in px, and the name of the PNG beside the page."""

    info: ClipInfo
    jpeg: str
    width: int
    height: int
    file: str


def choose_clips(clips: Sequence[ClipInfo], number: int, seed: int | None = None) -> tuple[ClipInfo, ...]:
    """Some clips in the store's order, evenly over it, or drawn at random with a seed; all when there are fewer.

    Raises ValueError for a number below 0.
    """
    if number < 0:
        raise ValueError(f"the number of clips must be at least 0, not {number}")
    number = min(number, len(clips))
    if seed is None:
        return tuple(clips[(2 * index + 1) * len(clips) // (2 * number)] for index in range(number))
    drawn = np.random.default_rng(seed).permutation(len(clips))[:number]
    return tuple(clips[index] for index in sorted(drawn.tolist()))


def find_clips(store: ClipStore, ids: Sequence[str]) -> tuple[ClipInfo, ...]:
    """Clips by their ids or beginnings of them. Raises ValueError for a beginning of no clip's id, or of several."""
    return tuple(dict.fromkeys(_find_clip(store, start) for start in ids))


def inspect_store(store: ClipStore, output: str | Path, shown: Sequence[ClipInfo], *, progress: bool = False) -> str:
    """Write `index.html` and `sheets/ID.png` of the clips `shown` into a folder; returns the page's location.

    Equal stores give equal bytes. Raises OSError when the folder cannot be written to, and for clip files that are
    missing or damaged what `ClipStore.read` does.
    """
    folder = Folder(output)
    with _explained(folder):
        if folder.is_local:
            Path(folder.root).mkdir(parents=True, exist_ok=True)
    # Histograms of a remote store would need a copy of every clip.
    measured = choose_clips(store.clips, MEASURED_CLIPS) if store.folder.is_local else shown
    bar = partial(tqdm, unit="clip", disable=not progress)
    hands = hand_measures(store.read(info) for info in bar(measured, desc="measuring"))
    sheets = [_write_sheet(store, info, folder) for info in bar(shown, desc="contact sheets")]
    with _explained(folder):
        folder.write(PAGE, render_page(store, hands, sheets).encode())
    return folder.path(PAGE)


def render_page(store: ClipStore, hands: HandMeasures, sheets: Sequence[Sheet]) -> str:
    """The whole page as HTML."""
    return render(
        "inspection/page.html",
        title=f"Clip store {store.folder}",
        links={link: link.capitalize() for link in LINKS},
        store=store,
        overview=overview(store),
        splits=totals_by_split(store),
        percentiles=sharpness_percentiles(store),
        correlation=correlation(store),
        hands_measured=store.statistics.get("hands"),
        charts=[histogram_chart(histogram) for histogram in histograms(store, hands)],
        num_measured=hands.num_clips,
        sheets=sheets,
        with_sheet={sheet.info.id for sheet in sheets},
        sizes=", ".join(sorted({f"{info.width}×{info.height} px" for info in store.clips})),
        padding_share=padding_share,
        rejections=rejections_by_reason(store.rejected),
        settings=flat_settings(store.settings),
        ignored_files=store.statistics.get("ignored_files") or {},
    )


def _find_clip(store: ClipStore, start: str) -> ClipInfo:
    matching = [info for info in store.clips if info.id.startswith(start)]
    if exact := [info for info in matching if info.id == start]:
        return exact[0]
    if not matching:
        raise ValueError(f"{store.folder}: no clip has the id {start!r}; the ids are in its manifest.jsonl")
    if len(matching) > 1:
        raise ValueError(f"{store.folder}: the ids of {len(matching)} clips begin with {start!r}; give more of it")
    return matching[0]


def _write_sheet(store: ClipStore, info: ClipInfo, folder: Folder) -> Sheet:
    picture = contact_sheet(store.read(info), store.sharpness_scale)
    file = f"{SHEETS}/{identifier(info.id)}.png"
    with _explained(folder):
        folder.write(file, _encoded(picture, ".png", []))
    # Thin coloured lines need their colours at full resolution.
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    jpeg = _encoded(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling])
    return Sheet(info, base64.b64encode(jpeg).decode(), picture.shape[1], picture.shape[0], file)


def _encoded(picture: Frame, suffix: str, options: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of {picture.shape[1]}×{picture.shape[0]} cannot be made a {suffix}")
    return content.tobytes()


@contextmanager
def _explained(folder: Folder) -> Iterator[None]:
    """Name the requested folder in errors of writing, instead of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{folder}: the page cannot be written there ({error.strerror or error})") from None
