"""SAM on single frames: a mask from clicks, a box and perhaps an earlier mask, on that frame alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotation.answer import Answer
from annotation.encoded_frames import ImageCache, ShelfPlace
from annotation.support_click import support_click
from model.image.image_predictor import ImagePredictor
from model.prompts import Box, Click
from model.video.frame_source import FrameSource
from storage.masks import Rle, decode

__all__ = ["Ground", "ImageAssistant"]

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the next answer on a frame starts from: a mask that a person made, or the answer before.

    logits: of that answer, [h, w]. support: a click that goes before those of the person.
    """

    mask: Rle | None = None
    logits: Logits | None = None
    support: Click | None = None

    @property
    def byte_size(self) -> int:
        """Bytes, roughly."""
        mask = 0 if self.mask is None else len(self.mask.counts)
        return mask + (0 if self.logits is None else self.logits.nbytes)


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
        support, logits = self._refined(ground, clicks) if ground else (None, None)
        prediction = self._predictor.predict(
            clicks if support is None or box else (support, *clicks),
            box=box,
            mask_logits=logits,
            multimask=box is None and len(clicks) == 1 and ground is None,
        )
        best = prediction.best
        if prediction.masks[best].any():
            self._grounds[position] = Ground(logits=prediction.low_res_logits[best], support=support)
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
        return sum(ground.byte_size for ground in self._grounds.values())

    def _refined(self, ground: Ground, clicks: Sequence[Click]) -> tuple[Click | None, Logits | None]:
        """The click that goes before the others, and the logits that all of them refine."""
        if ground.mask is None:
            return ground.support, ground.logits
        return support_click(ground.mask, clicks), self._predictor.logits_of(decode(ground.mask))

    def _show(self, position: int) -> None:
        """Make the predictor look at a frame."""
        image = self._images.cache.get(position)
        if image is None:
            self._predictor.set_image(self._frames[position])
            image = self._predictor.image
            self._images.cache.put(position, image)
        self._predictor.set_embedding(image)
        self._images.used()
