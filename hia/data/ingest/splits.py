"""Train/test splits, by video and never by clip."""

import hashlib
import posixpath

from hia.data.ingest.videos import Split, VideoSource
from hia.io.paths import read_lines


def assign_split(source: VideoSource, seed: int, test_share: float, test_list: frozenset[str] | None) -> Split:
    """The split of a video: that of its dataset; else from the list, if there is one; else by chance.

    test_list: the test split: names of videos or groups, with folders and suffix or without. Chance depends only on the
    seed and the video's group, so new videos move no others; the share `test_share` of the groups is for testing.
    Raises ValueError for a share outside 0..1.
    """
    if not 0 <= test_share <= 1:
        raise ValueError(f"test_share must lie in 0..1, not {test_share}")
    if source.split is not None:
        return source.split
    if test_list is not None:
        return "test" if names_of(source) & test_list else "train"
    group = source.group or source.name
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_share else "train"


def names_of(source: VideoSource) -> frozenset[str]:
    """All names of a video that a list may use: its name, group or location, with folders and suffix and without."""
    names = {source.name, source.group or source.name, source.location}
    names |= {posixpath.basename(name) for name in names}
    return frozenset(names | {posixpath.splitext(name)[0] for name in names})


def read_list(path: str) -> frozenset[str]:
    """The names in a list: a text file or fsspec URL with one name per line; # begins comments.

    Raises OSError when it cannot be read, ValueError when it is not UTF-8 text or is empty.
    """
    names = frozenset(read_lines(str(path)))
    if not names:
        raise ValueError(f"{path}: the list has no names in it")
    return names
