"""Videos through PyAV: probing, decoding with true times and upright pictures, and writing whole files or none."""

from hia.video.conversion import MAX_SIDE
from hia.video.errors import MissingVideo, UnreachableVideo, VideoError
from hia.video.image_folder import natural_key
from hia.video.read import TimedFrame, VideoInfo, frames_at, iterate, local_copy, probe, read_frames
from hia.video.timing import nominal_rate, resample
from hia.video.write import VideoWriter, write_video

__all__ = [
    "MAX_SIDE",
    "MissingVideo",
    "TimedFrame",
    "UnreachableVideo",
    "VideoError",
    "VideoInfo",
    "VideoWriter",
    "frames_at",
    "iterate",
    "local_copy",
    "natural_key",
    "nominal_rate",
    "probe",
    "read_frames",
    "resample",
    "write_video",
]
