"""What the model does for the annotation tool: SAM on single frames, and a tracker for one object.

`SessionTools` holds one loaded model and hands out both to any number of sittings at once, so that no sitting loads
weights again, and the frames of a video are encoded only once for all that work on it.
"""

from __future__ import annotations

from dataclasses import replace

from annotation.answer import Answer
from annotation.encoded_frames import ImageCache, Shelf, VideoKey
from annotation.image_assistant import ImageAssistant
from annotation.tracker import Tracker
from annotation.work import PhaseRules
from model.image.image_model import Network
from model.image.image_predictor import ImagePredictor
from model.network.sam2 import Sam2
from model.video.feature_cache import FeatureCache
from model.video.video_session import FrameSource, SessionConfig, VideoSession

__all__ = ["Answer", "ImageAssistant", "SessionTools", "Tracker"]


class SessionTools:
    """A loaded model, ready for many sittings, one after another or side by side.

    `sam` makes masks on single frames, `model` itself if it is None. Encoded frames of all videos together take
    `kept_videos` times `config.feature_cache_bytes` for tracking, and `image_bytes` for SAM; the longest unused
    videos go first.
    """

    def __init__(
        self,
        model: Sam2,
        *,
        config: SessionConfig | None = None,
        kept_videos: int = 2,
        sam: Network | None = None,
        image_bytes: int = 128 * 2**20,
    ) -> None:
        self.model = model
        self._sam = model if sam is None else sam
        self._config = replace(
            config or SessionConfig(), revision_bytes=0
        )  # sittings ask for no log of changes
        per_video = self._config.feature_cache_bytes
        self._features = Shelf(kept_videos * per_video, FeatureCache, per_video=per_video)
        self._images = Shelf(image_bytes, ImageCache)

    def image_assistant(self, video: VideoKey, frames: FrameSource) -> ImageAssistant:
        """SAM on the frames of a video."""
        predictor = ImagePredictor(self._sam, precision=self._config.precision)
        return ImageAssistant(predictor, frames, self._images.open(video))

    def tracker(
        self, video: VideoKey, frames: FrameSource, rules: PhaseRules, *, catch_up: int | None = None
    ) -> Tracker:
        """A tracker without prompts on a video; with rules of phase 2 it takes masks only."""
        features = self._features.open(video)
        config = replace(self._config, mask_prompts_only=rules.tracker_prompts == "masks")
        session = VideoSession(self.model, frames, config=config, features=features.cache)
        return Tracker(session, features, catch_up=catch_up)

    @property
    def byte_size(self) -> int:
        """Bytes of the encoded frames that sittings share."""
        return self._features.byte_size + self._images.byte_size
