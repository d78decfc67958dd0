"""Worst and best cases of an evaluation, with small copies of their videos."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hia.config.metrics import figure_info, in_order
from hia.evaluation.protocol.results import LABELS, Results, Video, figure_names
from hia.images import Frame
from hia.video import VideoWriter, probe, read_frames
from hia.visualization.text import four_digits

# Number of worst and of best cases.
NUM_CASES = 3
# Of all embedded videos together; others are only linked.
MAX_BYTES = 24_000_000
CAPTION = ("psnr", "ssim", "lpips_alex", "hands_psnr", "face_psnr")
# Videos up to this are embedded as they are; others are made smaller first.
SMALL = 300_000
HEIGHT, WIDTH, CRF = 360, 1280, 28


class Case(NamedTuple):
    """A video with its figures as text. content: mp4 in base64, None when it is too large; files: by method's label."""

    video: str
    figures: str
    content: str | None
    files: dict[str, str]


class Cases(NamedTuple):
    """Cases by the title of their group, and the order in which they are chosen, in words."""

    order: str
    groups: dict[str, list[Case]]


def ranked(results: Results) -> tuple[str | None, list[Video]]:
    """The figure by which videos are ranked, the first with a direction, and those that have it, the worst first."""
    method = results.methods[0]
    for figure in in_order(set(figure_names(results))):
        better = figure_info(figure).better
        having = [video for video in results.videos if figure in video.scores[method].figures]
        if better and having:
            return figure, sorted(having, key=lambda one: better * one.scores[method].figures[figure].value)
    return None, list(results.videos)


def choose_cases(results: Results, folder: Path) -> Cases:
    """Some of the worst and the best videos; all of them when they are few."""
    figure, videos = ranked(results)
    method = results.methods[0]
    few = len(videos) <= 2 * NUM_CASES
    order = f"by {figure_info(figure).title}, {LABELS[method]}" if figure else "in order of their names"
    groups = {"": videos} if few else {"Worst": videos[:NUM_CASES], "Best": videos[: -NUM_CASES - 1 : -1]}
    cases: dict[str, list[Case]] = {}
    left = MAX_BYTES
    for title, group in groups.items():
        cases[title] = []
        for video in group:
            content = small_video(folder / video.files.videos[method])
            cases[title].append(_case(video, method, content if len(content) <= left else None))
            left -= len(content) if len(content) <= left else 0
    return Cases(f"{'All videos, the worst first, ' if few else 'Chosen '}{order}", cases)


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


def _case(video: Video, method: str, content: bytes | None) -> Case:
    figures = video.scores[method].flat()
    texts = [f"{figure_info(key).title} {four_digits(figures[key])}" for key in CAPTION if key in figures]
    files = {LABELS[one]: path for one, path in video.files.videos.items()}
    return Case(video.video, " · ".join(texts), None if content is None else base64.b64encode(content).decode(), files)


def _shrunk(path: Path) -> Iterator[Frame]:
    for frame in read_frames(path):
        height, width = frame.shape[:2]
        scale = min(1.0, HEIGHT / height, WIDTH / width)
        size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
        yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
