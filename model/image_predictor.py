"""Masks in one image: set it once, then ask as often as you like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import PromptError
from model.feature_cache import encode_frame
from model.frame_result import stability
from model.layers import resize
from model.prompt_tensors import LOGIT_LIMIT, points_to_tensors
from model.prompts import Box, Click
from model.sam2 import HeadsOutput, ImageFeatures, Points, Sam2

__all__ = ["ImagePredictor", "MaskPrediction", "PointPredictions"]


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """Candidate masks of one prompt: M is 3 for an ambiguous prompt, else 1."""

    masks: NDArray[np.bool_]  # [M, H, W], the size of the image
    ious: NDArray[np.float32]  # predicted IoU in 0…1 [M]
    low_res_logits: NDArray[np.float32]  # [M, h, w] within ±32; one of them may refine the next call
    object_score: float  # logit that there is an object

    @property
    def best(self) -> int:
        """Index of the candidate with the highest predicted IoU."""
        return int(self.ious.argmax())


@dataclass(frozen=True, slots=True)
class PointPredictions:
    """Candidates of P single clicks, three each, at the network's mask size."""

    low_res_logits: Tensor  # [P, 3, h, w]
    ious: Tensor  # [P, 3]
    stabilities: Tensor  # [P, 3]
    object_scores: Tensor  # [P]


class ImagePredictor:
    """Answers clicks, boxes and rough masks on the image that was set last."""

    def __init__(self, model: Sam2) -> None:
        self.model = model
        self._features: ImageFeatures | None = None
        self._embedding = torch.empty(0)
        self._size = (0, 0)

    def set_image(self, rgb: NDArray[np.uint8]) -> None:
        """Encode an RGB image uint8 [H, W, 3]. Raises PromptError for another type or shape."""
        self._features = encode_frame(self.model, rgb, where="the image")
        self._size = (rgb.shape[0], rgb.shape[1])
        with torch.inference_mode():
            self._embedding = self.model.condition(self._features, None)

    @torch.inference_mode()
    def predict(
        self,
        clicks: Sequence[Click] = (),
        *,
        box: Box | None = None,
        mask_logits: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> MaskPrediction:
        """Return masks for clicks and perhaps a box, in pixels of the image.

        `mask_logits` [h, w] are low-res logits of an earlier answer. Raises PromptError when no image is set,
        nothing is prompted, a point is outside the image, or the logits are not finite or not square.
        """
        height, width = self._image_size()
        for shape in (*clicks, *((box,) if box else ())):
            shape.check_inside(height=height, width=width)
        if not clicks and box is None and mask_logits is None:
            raise PromptError("nothing is prompted; give clicks, a box or mask logits")
        points = None
        if clicks or box is not None:
            points = points_to_tensors(self.model, clicks, box, height=height, width=width)
        earlier = None if mask_logits is None else self._mask_logits(mask_logits)
        heads = self._ask(points, earlier, multimask=multimask)
        masks = resize(heads.low_res_multimasks, self._size)[0] > 0
        return MaskPrediction(
            masks=masks.cpu().numpy(),
            ious=heads.ious[0].cpu().numpy(),
            low_res_logits=heads.low_res_multimasks[0].clamp(-LOGIT_LIMIT, LOGIT_LIMIT).cpu().numpy(),
            object_score=float(heads.object_score[0, 0]),
        )

    @torch.inference_mode()
    def predict_points(self, points: NDArray[np.float32]) -> PointPredictions:
        """Ask about each of `points` [P, 2] (x, y) on its own: one positive click, in pixels of the image.

        Raises PromptError when no image is set or a point is not finite or outside the image.
        """
        height, width = self._image_size()
        for x, y in points.tolist():
            Click(x, y).check_inside(height=height, width=width)
        scale = self.model.image_size / np.array([width, height])
        coords = torch.from_numpy((points * scale).astype(np.float32))[:, None].to(self.model.device)
        labels = torch.ones(coords.shape[:2], dtype=torch.long, device=self.model.device)
        heads = self._ask((coords, labels), None, multimask=True)
        logits = heads.low_res_multimasks
        return PointPredictions(logits, heads.ious, stability(logits), heads.object_score[:, 0])

    def _image_size(self) -> tuple[int, int]:
        if self._features is None:
            raise PromptError("no image is set; call set_image first")
        return self._size

    def _ask(self, points: Points | None, mask_logits: Tensor | None, *, multimask: bool) -> HeadsOutput:
        if self._features is None:
            raise PromptError("no image is set; call set_image first")
        count = 1 if points is None else points[0].shape[0]
        rows = torch.zeros(count, dtype=torch.long, device=self.model.device)
        picked = self._features.select(rows)
        return self.model.sam_heads(
            self._embedding[rows],
            picked.high_res,
            points=points,
            mask_logits=mask_logits,
            multimask=multimask,
        )

    def _mask_logits(self, logits: NDArray[np.float32]) -> Tensor:
        if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
            raise PromptError(f"mask logits of shape {logits.shape} are not square [h, w]")
        if not np.isfinite(logits).all():
            raise PromptError("mask logits hold values that are not finite")
        return torch.from_numpy(logits.astype(np.float32))[None, None].to(self.model.device)
