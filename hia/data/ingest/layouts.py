"""Layouts of published datasets: TikTok, UBC Fashion, and plain folders of videos.

TikTok (Jafarian and Park, "Learning High Fidelity Depths of Dressed Humans by Watching Social Media Dance Videos",
2021): a numbered folder for each video, with the folders `images`, `masks` and `densepose` in it, or with the images
themselves. UBC Fashion (Zablotskaia et al., "DwNet", 2019): mp4 files, in folders `train` and `test`, or with the lists
`fashion_train.txt` and `fashion_test.txt` of the addresses that they were downloaded from.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import unquote

from hia.config.data import Layout
from hia.config.types import Split
from hia.data.ingest.listing import Listing, Problem, list_inputs
from hia.data.ingest.videos import SUFFIXES, FoundVideos, VideoSource, gather, videos_in
from hia.io.paths import join, printable, read_lines, split, suffix, without_query
from hia.video.image_folder import IMAGE_SUFFIXES

TIKTOK_FPS = 30.0
TIKTOK_IMAGES, TIKTOK_OTHERS = "images", frozenset({"masks", "densepose"})
UBC_LISTS: dict[str, Split] = {"fashion_train.txt": "train", "fashion_test.txt": "test"}
UBC_FOLDERS: dict[str, Split] = {"train": "train", "test": "test"}


def find_videos_in_layout(
    inputs: Sequence[str], layout: Layout = "auto", without: str | None = None, maps: Sequence[str] = ()
) -> FoundVideos:
    """All videos of some inputs (see `find_videos`) in the given layout.

    plain: video files. tiktok: folders of frames. ubc: video files with their split. auto: all of these, as far as the
    inputs show their signs: numbered folders of frames, both lists or both folders of a split. without: a folder, path
    or URL, that is left out. maps: names of further pictures of the frames, see `find_maps`. Raises ValueError when
    there is no video, when the inputs are not in the requested layout, and when a video is listed for both splits.
    """
    listings, problems = list_inputs(inputs, without)
    candidates = [] if layout == "tiktok" else [video for listing in listings for video in videos_in(listing)]
    if layout in ("auto", "ubc"):
        candidates, missing = _with_ubc_splits(candidates, listings, required=layout == "ubc")
        problems += missing
    if layout in ("auto", "tiktok"):
        for listing in listings:
            folders, without_images = _tiktok_folders(listing, any_name=layout == "tiktok")
            candidates += folders
            problems += without_images
    if layout == "tiktok" and not candidates:
        raise ValueError(
            f"no folder of frames in {', '.join(map(str, inputs))}: looked for folders {TIKTOK_IMAGES!r}, "
            f"and for numbered ones, with {', '.join(sorted(IMAGE_SUFFIXES))} in them"
        )
    return gather(candidates, listings, problems, inputs, maps)


def _tiktok_folders(listing: Listing, any_name: bool) -> tuple[list[VideoSource], list[Problem]]:
    """The frame folders of a listing, and problems: videos that have only masks or DensePose, but no frames.

    any_name: take `images` folders without a number above them and without masks beside them, too.
    """
    folders = _image_folders(listing.names)
    videos, problems = [], set()
    for folder, stems in sorted(folders.items()):
        video, name = posixpath.split(folder)
        if name == TIKTOK_IMAGES:
            others = any(posixpath.join(video, other) in folders for other in TIKTOK_OTHERS)
            if any_name or others or _title(listing, video).isdecimal():
                videos.append(_frames(listing, video, TIKTOK_IMAGES))
        elif name in TIKTOK_OTHERS:
            title = _title(listing, video)
            if title.isdecimal() and posixpath.join(video, TIKTOK_IMAGES) not in folders:
                message = f"{join(listing.root, video)}: there is no folder {TIKTOK_IMAGES!r} with frames in it"
                problems.add((printable(video or title), "no_frames", printable(message)))
        elif _title(listing, folder).isdecimal() and all(stem.isdecimal() for stem in stems):
            videos.append(_frames(listing, folder, ""))
    return videos, sorted(problems)


def _image_folders(names: Iterable[str]) -> dict[str, list[str]]:
    """Folders that hold images, each with the names of its images without suffix."""
    folders = defaultdict(list)
    for name in names:
        stem, kind = posixpath.splitext(name)
        if kind.lower() in IMAGE_SUFFIXES:
            folders[posixpath.dirname(stem)].append(posixpath.basename(stem))
    return folders


def _title(listing: Listing, folder: str) -> str:
    """The last part of a folder's path; that of the listing's root for the root itself."""
    return posixpath.basename(folder or listing.root)


def _frames(listing: Listing, folder: str, images: str) -> VideoSource:
    """A folder of frames as a video. images: its sub-folder with the frames, empty if there is none."""
    root, name = (listing.root, folder) if folder else split(listing.root)
    place = join(root, name)
    if not images:
        return VideoSource(name, place, fps=TIKTOK_FPS, root=root)
    return VideoSource(name, join(place, images), fps=TIKTOK_FPS, root=root, folder=place)


def _with_ubc_splits(
    candidates: Sequence[VideoSource], listings: Sequence[Listing], required: bool
) -> tuple[list[VideoSource], list[Problem]]:
    """The videos with their split, where lists or folders give one, and problems: listed videos that are missing."""
    listed, folders = _listed(listings), _split_folders(candidates, 1 if required else 2)
    if required and not listed and not folders:
        raise ValueError(
            f"no UBC Fashion split: looked for {' and '.join(UBC_LISTS)}, and for videos in folders "
            f"{' and '.join(UBC_FOLDERS)}"
        )
    known = [(candidate, _stems(candidate.location)) for candidate in candidates]
    with_splits = [
        replace(candidate, split=_first(listed, stems) or folders.get(split(candidate.location)[0]))
        for candidate, stems in known
    ]
    present = {stem for _, stems in known for stem in stems}
    missing: list[Problem] = [
        (printable(stem), "missing", printable(f"{stem} is listed for UBC's {part} split, but no such video is there"))
        for stem, part in sorted(listed.items())
        if stem not in present
    ]
    return with_splits, missing


def _listed(listings: Sequence[Listing]) -> dict[str, Split]:
    """The split of each listed video, by the video's stem. Raises ValueError for a video in both lists."""
    listed: dict[str, Split] = {}
    for listing in listings:
        entries = [(part, name) for part in [UBC_LISTS.get(listing.origin)] if part for name in listing.names]
        for file in listing.names:
            if part := UBC_LISTS.get(posixpath.basename(file)):
                entries += [(part, line) for line in read_lines(join(listing.root, file))]
        for part, name in entries:
            stem = _stems(name)[0]
            if listed.setdefault(stem, part) != part:
                raise ValueError(f"{stem} is listed for training and for testing: {' and '.join(UBC_LISTS)} disagree")
    return listed


def _split_folders(candidates: Sequence[VideoSource], least: int) -> dict[str, Split]:
    """Folders of videos that are named after a split, where at least `least` of them lie beside each other."""
    places = {split(candidate.location)[0] for candidate in candidates}
    named = {place: part for place in places if (part := UBC_FOLDERS.get(split(place)[1]))}
    beside = defaultdict(set)
    for place, part in named.items():
        beside[split(place)[0]].add(part)
    return {place: part for place, part in named.items() if len(beside[split(place)[0]]) >= least}


def _stems(location: str) -> tuple[str, str]:
    """A video's name without folders and suffix: decoded as part of an address (%2B is +), and as written."""
    name = split(without_query(location))[1]
    stem = posixpath.splitext(name)[0] if suffix(name) in SUFFIXES else name
    return unquote(stem), stem


def _first(listed: Mapping[str, Split], stems: Iterable[str]) -> Split | None:
    return next((listed[stem] for stem in stems if stem in listed), None)
