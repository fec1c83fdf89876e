"""Asking an image about many single points: what the generators of masks and of masklets have in common.

A network answers with logits at a fraction of the image's size. Whoever searches drops what it can by the predicted
IoU alone, before the network's own upscaling, and brings the rest to full size a few masks at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.image.image_predictor import ImagePredictor

__all__ = ["Candidates", "ask_points", "full_size"]

_CPU_BYTES = (
    8 * 2**20
)  # of full-size logits at a time: what is used again soon stays in the processor's cache
_DEVICE_BYTES = 256 * 2**20  # enough to keep an accelerator busy

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Candidates:
    """K masks that were found by single clicks on one crop."""

    points: Floats  # [K, 2] (x, y) in pixels of the crop
    low_res: Tensor  # logits float32 [K, h, w]
    ious: Floats  # predicted IoU [K]
    stabilities: Floats  # at the size of `low_res` [K], see `model.video.frame_result.stability`
    visible: NDArray[np.bool_]  # whether the network says that there is an object [K]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Candidates:
        """Return some of them, by a slice or by their places."""
        places = chosen if isinstance(chosen, slice) else torch.from_numpy(chosen)
        return Candidates(
            points=self.points[chosen],
            low_res=self.low_res[places],
            ious=self.ious[chosen],
            stabilities=self.stabilities[chosen],
            visible=self.visible[chosen],
        )

    def split(self, count: int) -> Iterator[Candidates]:
        """Yield them in order, `count` at a time."""
        for first in range(0, len(self), count):
            yield self[first : first + count]


def ask_points(
    predictor: ImagePredictor,
    points: Floats,
    *,
    multimask: bool = True,
    mask_logits: Tensor | None = None,
    min_iou: float = -np.inf,
) -> Candidates:
    """Ask about each of `points` [P, 2] in pixels of the predictor's image; three candidates each with `multimask`.

    `mask_logits` [P, h, w] are earlier answers to refine. Candidates of a predicted IoU below `min_iou` are dropped.
    """
    earlier = None if mask_logits is None else mask_logits[:, None]
    found = predictor.predict_points(points, mask_logits=earlier, multimask=multimask, min_iou=min_iou)
    good = found.ious >= min_iou
    rows, columns = good.nonzero(as_tuple=True)
    low_res = found.low_res_logits.flatten(0, 1)
    asked = found.rows[rows].cpu().numpy()
    visible = None if found.object_scores is None else (found.object_scores[rows] > 0).cpu().numpy()
    return Candidates(
        points=points[asked],
        low_res=low_res if good.all() else low_res[good.flatten()],  # 50 MB a batch of 64 points at 1024
        ious=found.ious[rows, columns].float().cpu().numpy(),
        stabilities=found.stabilities[rows, columns].float().cpu().numpy(),
        visible=np.ones(len(asked), dtype=np.bool_) if visible is None else visible,
    )


def full_size(predictor: ImagePredictor, candidates: Candidates) -> Iterator[tuple[Candidates, Tensor]]:
    """Yield a few candidates at a time with their logits float32 [k, H, W] in pixels of the predictor's image."""
    budget = _CPU_BYTES if candidates.low_res.device.type == "cpu" else _DEVICE_BYTES
    count = max(1, budget // (4 * predictor.image.height * predictor.image.width))
    for some in candidates.split(count):
        yield some, predictor.full_size(some.low_res)
