"""Errors of videos that cannot be used."""

from typing import Any


class VideoError(ValueError):
    """A video that cannot be used; the message names it.

    reason: `missing`, `empty`, `unreadable` (not a video), `no_video` (no picture in it), `no_frames` (none decodes),
    `decoding_failed` (damaged, cut off, or its frames differ in size) or `size` (too large).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self))


class MissingVideo(VideoError, FileNotFoundError):
    """A video file or folder that does not exist."""


class UnreachableVideo(VideoError, OSError):
    """A file that exists but cannot be read: no permission, a broken disk or connection. Another try may succeed."""
