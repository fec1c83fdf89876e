"""Videos in, frames out: reading any source frame-exactly, and the library of what was taken.

A frame is (video, index in the source, PTS). Sources are decoded once, in presentation order and upright;
only the annotated frames are kept. Session position ``i`` is the source frame
``video.annotated_frames[i]``.
"""

from storage.videos.library import IngestOutcome, StoredFrames, VideoLibrary
from storage.videos.sources import IngestLimits, SourceInfo, probe
from storage.videos.video import Video

__all__ = ["IngestLimits", "IngestOutcome", "SourceInfo", "StoredFrames", "Video", "VideoLibrary", "probe"]
