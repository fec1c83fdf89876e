"""Videos in, frames out: reading any source frame-exactly, and the library of what was taken.

A frame is (video, index in the source, PTS). Sources are decoded once, in presentation order and upright;
only the annotated frames are kept. Session position ``i`` is the source frame
``video.annotated_frames[i]``.
"""

from storage.videos.fingerprint import FINGERPRINT_VERSION, frames_to_hash
from storage.videos.library import IngestOutcome, StoredFrames, VideoLibrary
from storage.videos.sources import IngestLimits, SourceInfo, probe
from storage.videos.splits import TIES, HeldLooks, SplitBook
from storage.videos.video import EVALUATION_SPLITS, KEPT_OUT, Video

__all__ = [
    "EVALUATION_SPLITS",
    "FINGERPRINT_VERSION",
    "KEPT_OUT",
    "TIES",
    "HeldLooks",
    "IngestLimits",
    "IngestOutcome",
    "SourceInfo",
    "SplitBook",
    "StoredFrames",
    "Video",
    "VideoLibrary",
    "frames_to_hash",
    "probe",
]
