"""What the model does for the annotation tool: SAM on single frames, and a tracker for one object.

`SessionTools` holds one loaded model and hands out both, so that no sitting loads weights again, and the
frames of a video are encoded for tracking only once while one item of that video follows another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from annotation.errors import ActionError
from annotation.work import PhaseRules
from model.image.image_model import ImageEmbedding, Network
from model.image.image_predictor import ImagePredictor
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.video.frame_result import FrameResult
from model.video.video_session import FrameSource, SessionConfig, VideoSession

__all__ = ["Answer", "ImageAssistant", "SessionTools", "Tracker"]

BoolMask = npt.NDArray[np.bool_]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's mask, bool [H, W], at a position, and its predicted IoU, 0 to 1."""

    position: int
    mask: BoolMask
    score: float


class SessionTools:
    """A loaded model, ready for one sitting after another.

    `sam` makes masks on single frames, `model` itself if it is None. At most `kept_videos` videos keep their
    encoded frames; a new sitting on a video ends the one before on it.
    """

    def __init__(
        self,
        model: Sam2,
        *,
        config: SessionConfig | None = None,
        kept_videos: int = 2,
        sam: Network | None = None,
    ) -> None:
        self.model = model
        self._sam = model if sam is None else sam
        self._config = config or SessionConfig()
        self._kept_videos = kept_videos
        self._sessions: OrderedDict[tuple[str, bool], VideoSession] = OrderedDict()
        self._opened = 0

    def image_assistant(self, frames: FrameSource) -> ImageAssistant:
        """SAM on the frames of a video."""
        return ImageAssistant(ImagePredictor(self._sam, precision=self._config.precision), frames)

    def tracker(self, video_id: str, frames: FrameSource, rules: PhaseRules) -> Tracker:
        """A tracker without prompts on a video; with rules of phase 2 it takes masks only."""
        session = self._session(video_id, frames, masks_only=rules.tracker_prompts == "masks")
        session.reset()
        self._opened += 1
        return Tracker(session, object_id=self._opened)

    def _session(self, video_id: str, frames: FrameSource, *, masks_only: bool) -> VideoSession:
        key = video_id, masks_only
        if key not in self._sessions:
            config = replace(self._config, mask_prompts_only=masks_only)
            other = self._sessions.get((video_id, not masks_only))
            features = None if other is None else other.features
            self._sessions[key] = VideoSession(self.model, frames, config=config, features=features)
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._kept_videos:
            self._sessions.popitem(last=False)
        return self._sessions[key]


class ImageAssistant:
    """SAM: a mask of one frame from clicks and a box on that frame alone.

    The `kept_images` frames shown last (16 MB each with SAM 2 at 1024 pixels, 4 MB with SAM 1) need not be encoded
    again when the person comes back to them.
    """

    def __init__(self, predictor: ImagePredictor, frames: FrameSource, *, kept_images: int = 8) -> None:
        self._predictor = predictor
        self._frames = frames
        self._kept_images = kept_images
        self._images: OrderedDict[int, ImageEmbedding] = OrderedDict()
        self._previous: dict[int, Logits] = {}

    def answer(self, position: int, clicks: Sequence[Click], box: Box | None) -> Answer:
        """The best mask under all prompts of the frame; an earlier answer goes in as a prompt, too."""
        self._show(position)
        prediction = self._predictor.predict(
            clicks,
            box=box,
            mask_logits=self._previous.get(position),
            multimask=box is None and len(clicks) == 1,
        )
        best = prediction.best
        if prediction.masks[best].any():
            self._previous[position] = prediction.low_res_logits[best]
        return Answer(position, prediction.masks[best], float(prediction.ious[best].clip(0, 1)))

    def _show(self, position: int) -> None:
        """Make the predictor look at a frame."""
        if position in self._images:
            self._predictor.set_embedding(self._images[position])
        else:
            self._predictor.set_image(self._frames[position])
            self._images[position] = self._predictor.image
        self._images.move_to_end(position)
        while len(self._images) > self._kept_images:
            self._images.popitem(last=False)

    def forget(self, position: int) -> None:
        """The next answer on that frame starts anew."""
        self._previous.pop(position, None)


class Tracker:
    """SAM 2 on one object of one video; prompts stay, and masks flow from them to the other frames.

    Mask prompts are passed on only when an answer is asked for, because each costs a run of the encoder.
    """

    def __init__(self, session: VideoSession, *, object_id: int) -> None:
        self._session = session
        self._object_id = object_id
        self._waiting: dict[int, BoolMask] = {}
        self._prompted: set[int] = set()
        self._known: set[int] = set()  # positions of which the session knows a mask

    @property
    def has_prompts(self) -> bool:
        """Whether there is anything to propagate."""
        return bool(self._prompted)

    def start_from(self, masks: Mapping[int, BoolMask]) -> None:
        """Masks that were there before the sitting, as prompts."""
        for position, mask in masks.items():
            self.set_mask(position, mask)

    def set_mask(self, position: int, mask: BoolMask) -> None:
        """Say what the mask bool [H, W] is; all False: the object is absent there."""
        self._waiting[position] = mask
        self._prompted.add(position)

    def refine(self, position: int, clicks: Sequence[Click], box: Box | None) -> Answer:
        """The mask under all clicks and the box of a frame, on top of the tracker's own prediction there."""
        self._pass_on_masks()
        self._predict(position)
        result = self._session.add_points(position, self._object_id, clicks, box=box, keep_previous=False)
        self._prompted.add(position)
        self._known.add(position)
        return self._own(result)

    def propagate(self, first: int, last: int, *, forward_only: bool) -> Iterator[Answer]:
        """Masks of the positions `first` to `last`, both inclusive.

        They flow forward from the earliest prompt (or from `first`, if that is later), then, unless
        `forward_only`, backward from the earliest prompt to `first`.
        """
        self._pass_on_masks()
        earliest = min(self._prompted)
        yield from self._run(range(max(first, 0 if forward_only else earliest), last + 1))
        if not forward_only and first < earliest:
            yield from self._run(range(min(earliest, last), first - 1, -1))

    def _pass_on_masks(self) -> None:
        """Tell the session about masks set since the last answer."""
        if self._known and self._object_id not in self._session.object_ids:
            raise ActionError("Another sitting was opened on this video; open the item again.")
        for position, mask in sorted(self._waiting.items()):
            self._session.add_mask(position, self._object_id, mask)
            self._known.add(position)
        self._waiting.clear()

    def _predict(self, position: int) -> None:
        """Track to a position that the session knows nothing of yet, from the nearest one it knows."""
        if not self._known or position in self._known:
            return
        before = [place for place in self._known if place < position]
        path = range(max(before), position + 1) if before else range(min(self._known), position - 1, -1)
        for _ in self._run(path):
            pass

    def _run(self, path: range) -> Iterator[Answer]:
        if not path:
            return
        results = self._session.propagate(start=path.start, stop=path.stop, reverse=path.step < 0)
        for result in results:
            self._known.add(result.frame)
            yield self._own(result)

    def _own(self, result: FrameResult) -> Answer:
        """This object's part of a result."""
        row = result.object_ids.index(self._object_id)
        return Answer(result.frame, result.masks[row], float(result.predicted_ious[row]))
