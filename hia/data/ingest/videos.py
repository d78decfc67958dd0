"""Video sources: discovery of videos, and of the keypoint files and maps beside them."""

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hia.config.types import Split
from hia.data.ingest.listing import Listing, Problem, list_inputs
from hia.io.paths import DirectoryCache, is_url, join, printable, split, suffix, without_query

SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"})
FRAME_KEYPOINTS = "_keypoints.json"


@dataclass(frozen=True)
class VideoSource:
    """A video to be preprocessed.

    name: `/`-separated, relative to the input's folder, with suffix; `gather` makes it unique. location: path or URL
    of a file, or of a folder of images. sidecar: path or URL of its keypoints: .npz, .json, or a folder of OpenPose
    files. fps: rate of a folder of images. split: given by the dataset. group: videos of one group get the same split;
    None: the video is alone in its group. maps: (name, location) of further pictures of its frames: files or folders of
    images. root: the input's folder. folder: the video's own folder, if `location` is a folder of images within it.
    """

    name: str
    location: str
    sidecar: str | None = None
    fps: float | None = None
    split: Split | None = None
    group: str | None = None
    maps: tuple[tuple[str, str], ...] = ()
    root: str = ""
    folder: str | None = None

    @property
    def named_after(self) -> str:
        """Path or URL that the keypoint files and maps beside the video are named after."""
        return self.folder or self.location


@dataclass(frozen=True)
class FoundVideos:
    """The videos of some inputs, sorted by name.

    ignored: counts of other files by suffix (`` for none). problems: (name, reason, message) of inputs that cannot be
    used; the reasons are `missing`, `unreadable`, `unreadable_folder`, `broken_symlink`, `symlink_loop`, `not_a_file`,
    `no_frames`.
    """

    sources: tuple[VideoSource, ...]
    ignored: dict[str, int]
    problems: tuple[Problem, ...]


def find_videos(inputs: Sequence[str]) -> FoundVideos:
    """All videos of some inputs.

    inputs: folders (searched recursively; links to folders are followed, hidden files are skipped), video files, .txt
    lists (one path or URL per line, # begins comments), fsspec URLs of these, URLs with wildcards. In folders, videos
    are recognised by their suffix (`SUFFIXES`); files that are named themselves are taken whatever their suffix. Raises
    ValueError when there is no video at all.
    """
    listings, problems = list_inputs(inputs)
    return gather([candidate for listing in listings for candidate in videos_in(listing)], listings, problems, inputs)


def videos_in(listing: Listing) -> list[VideoSource]:
    """The video files of a listing."""
    return [
        VideoSource(name, join(listing.root, name), root=listing.root)
        for name in listing.names
        if listing.named or suffix(name) in SUFFIXES
    ]


def gather(
    candidates: Iterable[VideoSource],
    listings: Sequence[Listing],
    problems: Sequence[Problem],
    inputs: Sequence[str],
    maps: Sequence[str] = (),
) -> FoundVideos:
    """Give videos unique names, sidecars and maps, and sort them.

    A video that several inputs contain is taken once; a map of another video is not taken as a video. Raises as
    `find_videos`.
    """
    videos: dict[str, VideoSource] = {}
    for candidate in candidates:
        videos.setdefault(candidate.location, candidate)
    around = DirectoryCache()
    maps_of = {location: find_maps(video, around, maps) for location, video in videos.items()}
    are_maps = {place for of_video in maps_of.values() for _, place in of_video}
    videos = {location: video for location, video in videos.items() if location not in are_maps}
    names = _unique_names(list(videos.values()))
    sources = [
        replace(video, name=name, sidecar=find_sidecar(video.named_after, around), maps=maps_of[video.location])
        for name, video in zip(names, videos.values(), strict=True)
    ]
    ignored = _ignored_files(listings, sources)
    if not sources:
        raise ValueError(_no_video_message(inputs, ignored, problems))
    return FoundVideos(tuple(sorted(sources, key=lambda source: source.name)), ignored, tuple(problems))


def find_sidecar(video: str, around: DirectoryCache) -> str | None:
    """Path or URL of a video's keypoints: the first of several places that exists; None when none does.

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
        if name in around.names(folder) and any(file.endswith(FRAME_KEYPOINTS) for file in around.names(place)):
            return place
    beside = join(folder, "../keypoints")
    return join(beside, f"{stem}.npz") if f"{stem}.npz" in around.names(beside) else None


def find_maps(video: VideoSource, around: DirectoryCache, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The maps of a video, (name, location): for x/clip.mp4, x/clip.depth.mp4 or the images in the folder x/clip.depth.

    A video that is a folder with a sub-folder of frames may have its maps in sub-folders named after them, too.
    """
    folder, file = split(without_query(video.named_after))
    stem = posixpath.splitext(file)[0] if suffix(file) in SUFFIXES else file
    found = []
    for name in names:
        places = [join(folder, f"{stem}.{name}{kind}") for kind in ("", *sorted(SUFFIXES))]
        places += [join(video.named_after, name)] if video.folder else []
        present = [place for place in places if split(place)[1] in around.names(split(place)[0])]
        found += [(name, place) for place in present[:1]]
    return tuple(found)


def _unique_names(videos: Sequence[VideoSource]) -> list[str]:
    """Relative names; equal ones are prefixed with as many parts of their input folders as make them different."""
    folders = [[part for part in video.root.replace("://", "/").split("/") if part] for video in videos]
    ends = [video.name.split("?")[0] if is_url(video.root) else video.name for video in videos]
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


def _ignored_files(listings: Sequence[Listing], sources: Sequence[VideoSource]) -> dict[str, int]:
    """Counts by suffix of the files that are neither videos nor their frames, keypoints or maps."""
    used = {place for source in sources for place in (source.location, source.sidecar)}
    used |= {place for source in sources for _, place in source.maps}
    places = {join(listing.root, name) for listing in listings for name in listing.names}
    unused = (place for place in places if place not in used and split(place)[0] not in used)
    return dict(sorted(Counter(printable(suffix(place)) for place in unused).items()))


def _no_video_message(inputs: Sequence[str], ignored: dict[str, int], problems: Sequence[Problem]) -> str:
    others = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in ignored.items())
    details = "".join(f"\n  {message}" for _, _, message in problems[:10])
    return (
        f"no video in {', '.join(map(str, inputs)) or 'no input'}: looked for {', '.join(sorted(SUFFIXES))}; "
        f"other files there: {others or 'none'}{details}"
    )
