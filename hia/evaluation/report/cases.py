"""The worst and the best videos, to be looked at."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from hia.config.metrics import figure_info, in_order
from hia.evaluation.protocol.results import LABELS, Results, Video, figure_names
from hia.images import Frame
from hia.video import VideoWriter, probe, read_frames
from hia.visualization.html import escape, name, section
from hia.visualization.text import four_digits

# So many of each.
SHOWN = 3
# Of all videos together; what goes beyond is only linked.
MOST_BYTES = 24_000_000
TOLD = ("psnr", "ssim", "lpips_alex", "hands_psnr", "face_psnr")
# Videos up to this are embedded as they are; others are made smaller first.
SMALL = 300_000
HEIGHT, WIDTH, CRF = 360, 1280, 28


def ranked(results: Results) -> tuple[str | None, list[Video]]:
    """The figure by which videos are ranked, the first with a direction, and those that have it, the worst first."""
    method = results.methods[0]
    for figure in in_order(set(figure_names(results))):
        better = figure_info(figure).better
        having = [video for video in results.videos if figure in video.scores[method].figures]
        if better and having:
            return figure, sorted(having, key=lambda one: better * one.scores[method].figures[figure].value)
    return None, list(results.videos)


def cases(results: Results, folder: Path) -> str:
    """The section: all videos when they are few."""
    figure, videos = ranked(results)
    method = results.methods[0]
    few = len(videos) <= 2 * SHOWN
    chosen = [("", videos)] if few else [("Worst", videos[:SHOWN]), ("Best", videos[: -SHOWN - 1 : -1])]
    order = f"by {figure_info(figure).title}, {LABELS[method]}" if figure else "in order of their names"
    parts, left = [f"<p>{'All videos, the worst first, ' if few else 'Chosen '}{escape(order)}.</p>"], MOST_BYTES
    for title, group in chosen:
        parts.append(f"<h3>{title}</h3>" if title else "")
        parts.append('<div class="cases">')
        for video in group:
            html, used = _case(video, method, folder, left)
            parts.append(html)
            left -= used
        parts.append("</div>")
    return section("cases", "Worst and best cases", "\n".join(parts))


def _case(video: Video, method: str, folder: Path, left: int) -> tuple[str, int]:
    """HTML of one video, and how many bytes of video are in it."""
    figures = video.scores[method].flat()
    told = " · ".join(f"{figure_info(key).title} {four_digits(figures[key])}" for key in TOLD if key in figures)
    content = small_video(folder / video.files.videos[method])
    links = _links(video)
    if len(content) > left:
        shown_video, used = "<p>Too large to be part of this page: see the file.</p>", 0
    else:
        shown_video = f'<video controls loop muted playsinline preload="auto" src="{data_uri(content)}"></video>'
        used = len(content)
    return (
        f'<figure class="case"><figcaption>{name(video.video)} <small>{escape(told)}</small></figcaption>\n'
        f"{shown_video}\n<p><small>Files beside this page: {links}</small></p></figure>",
        used,
    )


def _links(video: Video) -> str:
    return ", ".join(link(path, LABELS[method]) for method, path in video.files.videos.items())


def link(path: str, text: str) -> str:
    """To a file beside the page."""
    return f'<a href="{escape(path)}">{escape(text)}</a>'


def labels(methods: Sequence[str]) -> list[str]:
    """What methods are called."""
    return [LABELS[method] for method in methods]


def small_video(path: Path) -> bytes:
    """An mp4's content, or that of a smaller version: at most 1280×360 px, more compressed."""
    if path.stat().st_size <= SMALL:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder) / "small.mp4"
        with VideoWriter(smaller, probe(path).fps, CRF) as writer:
            for frame in _shrunk(path):
                writer.write(frame)
        return min(smaller.read_bytes(), path.read_bytes(), key=len)


def data_uri(content: bytes, kind: str = "video/mp4") -> str:
    """Content as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _shrunk(path: Path) -> Iterator[Frame]:
    for frame in read_frames(path):
        height, width = frame.shape[:2]
        scale = min(1.0, HEIGHT / height, WIDTH / width)
        size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
        yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
