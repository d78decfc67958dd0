"""Train/test splits, by video and never by clip."""

import hashlib
import posixpath
from collections.abc import Sequence

from hia.config.types import Split
from hia.data.ingest.videos import VideoSource
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
    return "test" if _chance(source, seed) < test_share else "train"


def assign_splits(
    sources: Sequence[VideoSource], seed: int, test_share: float, test_list: frozenset[str] | None
) -> list[Split]:
    """The splits of all videos of a store, see `assign_split`. Chance leaves at least one group for training.

    Of a few videos it might take all for testing: then the group that is drawn last of all stays for training. A share
    of 1, the dataset's own splits and a list are followed even if they leave nothing for training.
    """
    splits = [assign_split(source, seed, test_share, test_list) for source in sources]
    drawn = [source for source in sources if source.split is None] if test_list is None and test_share < 1 else []
    if not drawn or "train" in splits:
        return splits
    last = _group(max(drawn, key=lambda source: _chance(source, seed)))
    return ["train" if source.split is None and _group(source) == last else "test" for source in sources]


def _group(source: VideoSource) -> str:
    return source.group or source.name


def _chance(source: VideoSource, seed: int) -> float:
    """A number in [0, 1) drawn by the seed and the video's group; shares above it take the video for testing."""
    digest = hashlib.sha256(f"{seed}\0{_group(source)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
