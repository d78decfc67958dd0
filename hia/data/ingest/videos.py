"""Finding videos, and the keypoint files beside them."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hia.data.ingest.listing import Listing, Problem, list_inputs
from hia.io.paths import DirectoryCache, is_url, join, printable, split, suffix, without_query

SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"})
FRAME_KEYPOINTS = "_keypoints.json"

Split = Literal["train", "test"]


@dataclass(frozen=True)
class VideoSource:
    """A video to be preprocessed.

    name: unique, `/`-separated, relative to the input's folder, with suffix. location: path or URL of a file, or of a
    folder of images. sidecar: of its keypoints: .npz, .json, or a folder of OpenPose files. fps: rate of a folder of
    images. split: where the dataset says it belongs. group: what a split keeps together; None: the video alone. maps:
    names of further pictures of its frames, and where they are: files or folders of images.
    """

    name: str
    location: str
    sidecar: str | None = None
    fps: float | None = None
    split: Split | None = None
    group: str | None = None
    maps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """The videos of some inputs, by name.

    ignored: numbers of other files by their suffix (`` for none). problems: (name, reason, message) of what should have
    been looked at and could not: `missing`, `unreadable`, `unreadable_folder`, `broken_symlink`, `symlink_loop`,
    `not_a_file`, `no_frames`.
    """

    sources: tuple[VideoSource, ...]
    ignored: dict[str, int]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Candidate:
    """A video in a listing that is yet to get its unique name.

    root, relative: of the file, or of the folder; frames: the sub-folder with its images, empty for itself.
    """

    root: str
    relative: str
    frames: str = ""
    fps: float | None = None
    split: Split | None = None

    @property
    def named_after(self) -> str:
        """Path or URL that keypoint files are named after."""
        return join(self.root, self.relative)

    @property
    def location(self) -> str:
        """Path or URL of what is decoded."""
        return join(self.named_after, self.frames) if self.frames else self.named_after


def find_videos(inputs: Sequence[str]) -> Found:
    """All videos behind some inputs.

    inputs: folders (searched through; links to folders are followed, hidden files are not seen), video files, .txt
    lists (a path or URL a line, # begins comments), fsspec URLs of such, URLs with wildcards. In folders, videos are
    known by their suffix (`SUFFIXES`); files that are named are taken whatever theirs. Raises ValueError when there
    is no video at all.
    """
    listings, problems = list_inputs(inputs)
    return gather([candidate for listing in listings for candidate in videos_in(listing)], listings, problems, inputs)


def videos_in(listing: Listing) -> list[Candidate]:
    """The video files of a listing."""
    return [Candidate(listing.root, name) for name in listing.names if listing.named or suffix(name) in SUFFIXES]


def gather(
    candidates: Iterable[Candidate],
    listings: Sequence[Listing],
    problems: Sequence[Problem],
    inputs: Sequence[str],
    maps: Sequence[str] = (),
) -> Found:
    """Give candidates their names, sidecars and maps. One that several inputs name is taken once, a map of another one
    not at all. Raises as `find_videos`."""
    videos: dict[str, Candidate] = {}
    for candidate in candidates:
        videos.setdefault(candidate.location, candidate)
    around = DirectoryCache()
    maps_of = {location: find_maps(video, around, maps) for location, video in videos.items()}
    taken = {place for found in maps_of.values() for _, place in found}
    videos = {location: video for location, video in videos.items() if location not in taken}
    sources = [
        VideoSource(
            name,
            location,
            find_sidecar(video.named_after, around),
            video.fps,
            video.split,
            maps=maps_of[location],
        )
        for name, (location, video) in zip(_unique_names(list(videos.values())), videos.items(), strict=True)
    ]
    ignored = _ignored(listings, sources)
    if not sources:
        raise ValueError(_nothing(inputs, ignored, problems))
    return Found(tuple(sorted(sources, key=lambda source: source.name)), ignored, tuple(problems))


def find_sidecar(video: str, around: DirectoryCache) -> str | None:
    """Path or URL of a video's keypoints; the first that is there.

    For x/clip.mp4: x/clip.npz, x/clip.json, a folder x/clip_keypoints or x/clip with OpenPose's file for each frame,
    then x/../keypoints/clip.npz.
    """
    folder, file = split(without_query(video))
    stem = posixpath.splitext(file)[0] if suffix(file) in SUFFIXES else file
    for name in (f"{stem}.npz", f"{stem}.json"):
        if name in around.names(folder):
            return join(folder, name)
    for name in (f"{stem}_keypoints", stem):
        place = join(folder, name)
        if name in around.names(folder) and any(one.endswith(FRAME_KEYPOINTS) for one in around.names(place)):
            return place
    beside = join(folder, "../keypoints")
    return join(beside, f"{stem}.npz") if f"{stem}.npz" in around.names(beside) else None


def find_maps(video: Candidate, around: DirectoryCache, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The maps that a video has, by name: of x/clip.mp4 x/clip.depth.mp4, or images in the folder x/clip.depth.

    Of a folder with a sub-folder of frames, they are in sub-folders of their names too.
    """
    folder, file = split(without_query(video.named_after))
    stem = posixpath.splitext(file)[0] if suffix(file) in SUFFIXES else file
    found = []
    for name in names:
        places = [join(folder, f"{stem}.{name}{kind}") for kind in ("", *sorted(SUFFIXES))]
        places += [join(video.named_after, name)] if video.frames else []
        there = [place for place in places if split(place)[1] in around.names(split(place)[0])]
        found += [(name, place) for place in there[:1]]
    return tuple(found)


def _unique_names(videos: Sequence[Candidate]) -> list[str]:
    """Relative names; those that are alike get as much of their inputs' folders in front as tells them apart."""
    folders = [[part for part in video.root.replace("://", "/").split("/") if part] for video in videos]
    ends = [video.relative.split("?")[0] if is_url(video.root) else video.relative for video in videos]
    depths = [0] * len(videos)
    while True:
        parts = [folder[len(folder) - depth :] for folder, depth in zip(folders, depths, strict=True)]
        names = [printable("/".join([*part, end])) for part, end in zip(parts, ends, strict=True)]
        counts = Counter(names)
        if len(counts) == len(names):
            return names
        alike = [index for index, name in enumerate(names) if counts[name] > 1 and depths[index] < len(folders[index])]
        if not alike:
            return [printable(video.location) for video in videos]
        for index in alike:
            depths[index] += 1


def _ignored(listings: Sequence[Listing], sources: Sequence[VideoSource]) -> dict[str, int]:
    """Numbers of files by suffix that are neither videos nor their frames or keypoints."""
    used = {place for source in sources for place in (source.location, source.sidecar)}
    used |= {place for source in sources for _, place in source.maps}
    places = {join(listing.root, name) for listing in listings for name in listing.names}
    unused = (place for place in places if place not in used and split(place)[0] not in used)
    return dict(sorted(Counter(printable(suffix(place)) for place in unused).items()))


def _nothing(inputs: Sequence[str], ignored: dict[str, int], problems: Sequence[Problem]) -> str:
    others = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in ignored.items())
    said = "".join(f"\n  {message}" for _, _, message in problems[:10])
    return (
        f"no video in {', '.join(map(str, inputs)) or 'no input'}: looked for {', '.join(sorted(SUFFIXES))}; "
        f"other files there: {others or 'none'}{said}"
    )
