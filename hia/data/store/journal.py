"""Progress records of preprocessing, for resuming: a killed run loses at most the clips that were being made.

videos/KEY.json                 result of a finished video; kept
work/KEY/FIRST-END.safetensors  estimated track of the person in a segment of the video
work/KEY/FIRST-END.json         result of that segment: a clip or a rejection
work/KEY/attempt-*              a worker started the video and has noted nothing since

work/KEY is removed when the video is finished.
"""

import re
import uuid
from collections.abc import Set
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.numpy import load, save

from hia.data.store.records import ClipInfo, Rejected, Rejection, VideoResult, from_json, to_json
from hia.io.files import Folder
from hia.io.hashing import bytes_sha256
from hia.pose.tracking import PersonTrack

TRACK = ("keypoints", "scores", "boxes", "others")

CLIP_FILE = re.compile(r'"file":"(clips/[^"]+)"')

# A video is set aside after this many workers ended while processing it (a decoder's crash, too little memory).
MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class Journal:
    """The journal in a store's folder. Notes are written under a temporary name and renamed, so none is incomplete."""

    folder: Folder

    def result(self, key: str) -> VideoResult | None:
        """The result of a video; None when there is none, or one of its clips is missing or altered."""
        name = f"videos/{key}.json"
        if not self.folder.exists(name):
            return None
        result = from_json(VideoResult, self.folder.read(name), f"{self.folder}/{name}")
        return result if all(self._is_whole(clip) for clip in result.clips) else None

    def results(self) -> list[VideoResult]:
        """The results of all finished videos."""
        names = [f"videos/{name}" for name in self.folder.names("videos")]
        return [from_json(VideoResult, self.folder.read(name), f"{self.folder}/{name}") for name in names]

    def finish(self, result: VideoResult) -> None:
        """Note the result of a video, and remove the notes about its segments."""
        self.folder.write(f"videos/{result.key}.json", to_json(result).encode())
        self.folder.remove(f"work/{result.key}")

    def forget(self, key: str) -> None:
        """Remove the result of a video; its clips stay until the manifest is written."""
        self.folder.remove(f"videos/{key}.json")

    def begin_attempt(self, key: str) -> None:
        """Note that processing of a video begins.

        Raises Rejected when `MOST_ATTEMPTS` workers in a row ended while processing it, without noting anything.
        """
        notes = self.folder.names(f"work/{key}")
        if sum(name.startswith("attempt-") for name in notes) >= MOST_ATTEMPTS:
            self.forget_attempts(key)
            raise Rejected(
                "crashed",
                f"its processing ended without a word {MOST_ATTEMPTS} times (a decoder's crash, or too little memory); "
                "it is tried again at the next run",
                transient=True,
            )
        self.folder.write(f"work/{key}/attempt-{uuid.uuid4().hex}", b"")

    def forget_attempts(self, key: str) -> None:
        """Remove the notes about attempts: they ended in order, or made progress."""
        for name in self.folder.names(f"work/{key}"):
            if name.startswith("attempt-"):
                self.folder.remove(f"work/{key}/{name}")

    def track(self, key: str, segment: range) -> PersonTrack | None:
        """The estimated track of a segment; None when there is no readable note of it."""
        name = f"{_segment_name(key, segment)}.safetensors"
        if not self.folder.exists(name):
            return None
        try:
            arrays = load(self.folder.read(name))
            return PersonTrack(**{name: arrays[name] for name in TRACK}, share=1.0)
        except (SafetensorError, KeyError):
            return None

    def note_track(self, key: str, segment: range, track: PersonTrack) -> None:
        """Note the estimated track of a segment."""
        content = save({name: getattr(track, name) for name in TRACK})
        self.folder.write(f"{_segment_name(key, segment)}.safetensors", content)
        self.forget_attempts(key)

    def part(self, key: str, segment: range) -> ClipInfo | Rejection | None:
        """The result of a segment; None when there is none, or the clip's file is missing or altered."""
        name = f"{_segment_name(key, segment)}.json"
        if not self.folder.exists(name):
            return None
        content = self.folder.read(name)
        kind = ClipInfo if b'"sha256"' in content else Rejection
        part = from_json(kind, content, f"{self.folder}/{name}")
        return part if isinstance(part, Rejection) or self._is_whole(part) else None

    def note_part(self, key: str, segment: range, part: ClipInfo | Rejection) -> None:
        """Note the result of a segment."""
        self.folder.write(f"{_segment_name(key, segment)}.json", to_json(part).encode())
        self.forget_attempts(key)

    def remove_unused(self, used: Set[str]) -> None:
        """Remove clips that are neither in `used` (names of files) nor belong to unfinished videos.

        Also remove the notes about segments of finished videos, which a run leaves behind that is killed in `finish`.
        """
        done = {name.removesuffix(".json") for name in self.folder.names("videos")}
        begun = set(self.folder.names("work"))
        for key in begun & done:
            self.folder.remove(f"work/{key}")
        begun -= done
        kept = set(used)
        for key in sorted(begun):
            for name in self.folder.names(f"work/{key}"):
                if name.endswith(".json"):
                    kept.update(CLIP_FILE.findall(self.folder.read(f"work/{key}/{name}").decode()))
        for part in self.folder.names("clips"):
            for name in self.folder.names(f"clips/{part}"):
                if f"clips/{part}/{name}" not in kept:
                    self.folder.remove(f"clips/{part}/{name}")
        if not begun:
            self.folder.remove("work")

    def _is_whole(self, clip: ClipInfo) -> bool:
        return self.folder.size(clip.file) == clip.bytes and bytes_sha256(self.folder.read(clip.file)) == clip.sha256


def _segment_name(key: str, segment: range) -> str:
    return f"work/{key}/{segment.start:07d}-{segment.stop:07d}"
