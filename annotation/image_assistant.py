"""SAM on single frames: a mask from clicks, a box and perhaps an earlier mask, on that frame alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from annotation.answer import Answer
from annotation.encoded_frames import ImageCache, ShelfPlace
from model.image.image_predictor import ImagePredictor
from model.prompts import Box, Click
from model.video.frame_source import FrameSource
from storage.masks import Rle, decode

__all__ = ["Ground", "ImageAssistant"]

Ground = npt.NDArray[np.float32] | Rle
"""What the next answer on a frame starts from: logits [h, w] of the answer before, or a mask that a person made."""


class ImageAssistant:
    """SAM on the frames of one video, for one sitting; `images` is shared with others on that video.

    An answer on a frame starts from the one before it there, or from the mask that a person painted.
    """

    def __init__(
        self, predictor: ImagePredictor, frames: FrameSource, images: ShelfPlace[ImageCache]
    ) -> None:
        self._predictor = predictor
        self._frames = frames
        self._images = images
        self._grounds: dict[int, Ground] = {}

    def answer(self, position: int, clicks: Sequence[Click], box: Box | None) -> Answer:
        """The best mask under all prompts of the frame; what the frame starts from goes in as a prompt, too."""
        self._show(position)
        ground = self._grounds.get(position)
        prediction = self._predictor.predict(
            clicks,
            box=box,
            mask_logits=self._predictor.logits_of(decode(ground)) if isinstance(ground, Rle) else ground,
            multimask=box is None and len(clicks) == 1 and ground is None,
        )
        best = prediction.best
        if prediction.masks[best].any():
            self._grounds[position] = prediction.low_res_logits[best]
        return Answer(position, prediction.masks[best], float(prediction.ious[best].clip(0, 1)))

    def ground(self, position: int) -> Ground | None:
        """What the next answer on a frame starts from; None: from nothing."""
        return self._grounds.get(position)

    def start_from(self, position: int, ground: Ground | None) -> None:
        """Say what the next answer on a frame starts from; None: it starts anew."""
        if ground is None:
            self._grounds.pop(position, None)
        else:
            self._grounds[position] = ground

    def warm(self, position: int) -> bool:
        """Encode a frame ahead of the first click; False, and nothing done, when there is no room to keep it."""
        if self._images.cache.get(position) is None:
            if not self._images.has_room():
                return False
            self._show(position)
        return True

    @property
    def byte_size(self) -> int:
        """Bytes held for this sitting alone, without the shared frames."""
        return sum(ground_bytes(ground) for ground in self._grounds.values())

    def _show(self, position: int) -> None:
        """Make the predictor look at a frame."""
        image = self._images.cache.get(position)
        if image is None:
            self._predictor.set_image(self._frames[position])
            image = self._predictor.image
            self._images.cache.put(position, image)
        self._predictor.set_embedding(image)
        self._images.used()


def ground_bytes(ground: Ground | None) -> int:
    """Bytes of what an answer starts from."""
    if ground is None:
        return 0
    return len(ground.counts) if isinstance(ground, Rle) else ground.nbytes
