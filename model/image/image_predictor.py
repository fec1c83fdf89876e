"""Masks in one image: set it once, then ask as often as you like.

    predictor = ImagePredictor(load_checkpoint(path))
    predictor.set_image(rgb)
    answer = predictor.predict([Click(120, 80)])
    mask = answer.masks[answer.best]

The predictor is the same for SAM 2 and SAM 1; the network itself is reached through `model.image.image_model`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import PromptError
from model.image.image_model import ImageEmbedding, Network, image_model
from model.network.mask_decoder import PromptAnswers
from model.network.sam2 import Points
from model.postprocess import tidy_logits
from model.prompt_tensors import LOGIT_LIMIT
from model.prompts import Box, Click
from model.runtime import Precision, inference
from model.video.frame_result import stability

__all__ = ["ImagePredictor", "ImagePrompt", "MaskPrediction", "PointPredictions"]

Logits = NDArray[np.float32]

_BOX_LABELS = (2, 3)
_GIVEN_LOGIT = 10.0  # of a mask that a person gave, inside; its negative outside


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """One question about an image: clicks, a box, low-res logits of an earlier answer, or several of these."""

    clicks: Sequence[Click] = ()
    box: Box | None = None
    mask_logits: Logits | None = None  # [h, w], as in `MaskPrediction.low_res_logits`


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """Candidate masks of one prompt: M is 3 for an ambiguous prompt, else 1."""

    masks: NDArray[np.bool_]  # [M, H, W], the size of the image
    ious: NDArray[np.float32]  # predicted IoU [M]: in 0…1 for SAM 2, nearly so for SAM 1
    low_res_logits: Logits  # [M, h, w] within ±32; one of them may refine the next call
    object_score: float | None  # logit that there is an object; None for SAM 1, which does not say

    @property
    def best(self) -> int:
        """Index of the candidate with the highest predicted IoU."""
        return int(self.ious.argmax())


@dataclass(frozen=True, slots=True)
class PointPredictions:
    """Candidates for K of the P points that were asked about, M each, at the network's mask size."""

    rows: Tensor  # int64 [K]: which of the points these are, ascending
    low_res_logits: Tensor  # float32 [K, M, h, w]
    ious: Tensor  # predicted IoU [K, M]
    stabilities: Tensor  # [K, M] in 0…1, see `model.video.frame_result.stability`
    object_scores: Tensor | None  # logit that there is an object [K]; None for SAM 1


class ImagePredictor:
    """Answers clicks, boxes and rough masks on the image that was set last.

    Holes and specks of at most `max_hole_area` and `max_speck_area` pixels of the low-res masks are filled and
    dropped in the masks (not in the logits) of an answer. `precision` is as in `model.runtime.inference`.
    """

    def __init__(
        self,
        network: Network,
        *,
        precision: Precision = "auto",
        max_hole_area: float = 0,
        max_speck_area: float = 0,
    ) -> None:
        self._model = image_model(network)
        self._precision = precision
        self._max_hole_area = max_hole_area
        self._max_speck_area = max_speck_area
        self._image: ImageEmbedding | None = None

    @property
    def scores_objects(self) -> bool:
        """Whether the network says if there is an object at all; SAM 1 does not."""
        return self._model.scores_objects

    @property
    def image(self) -> ImageEmbedding:
        """What is kept of the image: `set_embedding` brings it back later. PromptError when none is set."""
        if self._image is None:
            raise PromptError("no image is set; call set_image first")
        return self._image

    def set_image(self, rgb: NDArray[np.uint8]) -> None:
        """Encode an RGB image uint8 [H, W, 3]. Raises PromptError for another type or shape."""
        with self._inference():
            self._image = self._model.embed_image(rgb)

    def set_embedding(self, image: ImageEmbedding) -> None:
        """Go back to an image that this network encoded before, without encoding it again."""
        self._image = image

    def predict(
        self,
        clicks: Sequence[Click] = (),
        *,
        box: Box | None = None,
        mask_logits: Logits | None = None,
        multimask: bool = True,
    ) -> MaskPrediction:
        """Return masks for clicks and perhaps a box, in pixels of the image.

        `mask_logits` [h, w] are low-res logits of an earlier answer. Raises PromptError when no image is set,
        nothing is prompted, a point is outside the image, or the logits are not finite or of another size.
        """
        return self.predict_batch([ImagePrompt(clicks, box, mask_logits)], multimask=multimask)[0]

    def predict_batch(
        self, prompts: Sequence[ImagePrompt], *, multimask: bool = True
    ) -> list[MaskPrediction]:
        """Answer independent prompts, those alike in one pass of the network; raises as `predict` does."""
        for prompt in prompts:
            self._check(prompt)
        answers: dict[int, MaskPrediction] = {}
        for group in _alike(prompts):
            answers |= self._ask_together(group, multimask=multimask)
        return [answers[index] for index in range(len(prompts))]

    def predict_points(
        self,
        points: NDArray[np.float32],
        *,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
        min_iou: float = -np.inf,
    ) -> PointPredictions:
        """Ask about each of `points` [P, 2] (x, y) on its own: one positive click, in pixels of the image.

        `mask_logits` [P, 1, h, w] refine the points. Points without a candidate of predicted IoU `min_iou` are
        left out, at less cost. Raises PromptError when no image is set, a point is not finite or outside the
        image, or the logits have another shape.
        """
        image = self.image
        _check_points(points, image)
        with self._inference():
            coords = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))[:, None]
            given = self._points(coords, torch.ones(coords.shape[:2], dtype=torch.long))
            if mask_logits is not None:
                mask_logits = mask_logits.to(self._model.device, torch.float32)
                self._check_logits(mask_logits, (len(points), 1))
            found = self._answer(given, mask_logits, multimask=multimask, min_iou=min_iou)
            return PointPredictions(
                rows=found.rows,
                low_res_logits=found.low_res.float(),
                ious=found.ious.float(),
                stabilities=stability(found.low_res),
                object_scores=found.object_scores.float() if self._model.scores_objects else None,
            )

    def logits_of(self, mask: NDArray[np.bool_]) -> Logits:
        """Return low-res logits [h, w] that say `mask` bool [H, W], to be refined as an earlier answer is.

        An object too small for them keeps its strongest pixel. PromptError for a mask of another size than the image.
        """
        image = self.image
        if mask.shape != (image.height, image.width):
            raise PromptError(
                f"a mask of shape {mask.shape} is not on an image of {(image.height, image.width)}"
            )
        height, width = (4 * side for side in image.embedding.shape[-2:])
        corner = self._model.to_input(torch.tensor([float(image.width), float(image.height)]), image)
        filled = [max(1, round(side / 4)) for side in corner.tolist()]  # width, height without the padding
        shares = cv2.resize(mask.astype(np.float32), (filled[0], filled[1]), interpolation=cv2.INTER_AREA)
        shares[(shares == shares.max()) & (shares > 0)] = 1.0
        logits = np.full((height, width), -_GIVEN_LOGIT, dtype=np.float32)
        logits[: filled[1], : filled[0]] = (2 * shares - 1) * _GIVEN_LOGIT
        return logits

    def full_size(self, low_res: Tensor) -> Tensor:
        """Return logits float32 [K, H, W] in pixels of the image for `low_res` [K, h, w]; no hole is filled."""
        with self._inference():
            return self._model.full_size(low_res[:, None].float(), self.image)[:, 0]

    def _inference(self) -> AbstractContextManager[None]:
        return inference(self._model.device, self._precision)

    def _check(self, prompt: ImagePrompt) -> None:
        image = self.image
        for shape in (*prompt.clicks, *((prompt.box,) if prompt.box else ())):
            shape.check_inside(height=image.height, width=image.width)
        if not prompt.clicks and prompt.box is None and prompt.mask_logits is None:
            raise PromptError("nothing is prompted; give clicks, a box or mask logits")
        if prompt.mask_logits is not None:
            self._check_logits(torch.from_numpy(np.asarray(prompt.mask_logits, dtype=np.float32)), ())

    def _check_logits(self, logits: Tensor, batch: tuple[int, ...]) -> None:
        height, width = self.image.embedding.shape[-2:]
        expected = (*batch, 4 * height, 4 * width)
        if tuple(logits.shape) != expected:
            raise PromptError(f"mask logits of shape {tuple(logits.shape)} are not {expected}")
        if not logits.isfinite().all():
            raise PromptError("mask logits hold values that are not finite")

    def _ask_together(
        self, prompts: Mapping[int, ImagePrompt], *, multimask: bool
    ) -> dict[int, MaskPrediction]:
        """Answer prompts of equal form, keyed by their place in the whole batch."""
        rows = [_rows(prompt) for prompt in prompts.values()]
        earlier = [prompt.mask_logits for prompt in prompts.values() if prompt.mask_logits is not None]
        with self._inference():
            table = torch.tensor(rows, dtype=torch.float32)  # N P 3
            points = self._points(table[..., :2], table[..., 2].long()) if table.numel() else None
            logits = self._earlier(earlier) if earlier else None
            found = self._answer(points, logits, multimask=multimask)
            return dict(zip(prompts, self._predictions(found), strict=True))

    def _points(self, coords: Tensor, labels: Tensor) -> Points:
        device = self._model.device
        return self._model.to_input(coords.to(device), self.image), labels.to(device)

    def _earlier(self, logits: Sequence[Logits]) -> Tensor:
        stacked = np.stack([np.asarray(one, dtype=np.float32) for one in logits])
        return torch.from_numpy(stacked)[:, None].to(self._model.device)  # N 1 h w

    def _answer(
        self,
        points: Points | None,
        mask_logits: Tensor | None,
        *,
        multimask: bool,
        min_iou: float = -np.inf,
    ) -> PromptAnswers:
        return self._model.answer(self.image, points, mask_logits, multimask=multimask, min_iou=min_iou)

    def _predictions(self, found: PromptAnswers) -> list[MaskPrediction]:
        """Bring an answer to every prompt of a group to the size of the image and out of torch."""
        low_res, ious = found.low_res.float().cpu().numpy(), found.ious.float().cpu().numpy()
        scores = found.object_scores.tolist()
        return [
            MaskPrediction(
                masks=self._masks(low_res[row]),
                ious=ious[row],
                low_res_logits=low_res[row].clip(-LOGIT_LIMIT, LOGIT_LIMIT),
                object_score=scores[row] if self._model.scores_objects else None,
            )
            for row in range(len(ious))
        ]

    def _masks(self, low_res: Logits) -> NDArray[np.bool_]:
        """Return masks bool [M, H, W] of logits [M, h, w], small holes and specks gone."""
        tidy = tidy_logits(low_res, max_hole_area=self._max_hole_area, max_speck_area=self._max_speck_area)
        masks: NDArray[np.bool_] = (
            (self.full_size(torch.from_numpy(tidy).to(self._model.device)) > 0).cpu().numpy()
        )
        return masks


def _check_points(points: NDArray[np.float32], image: ImageEmbedding) -> None:
    if points.ndim != 2 or points.shape[1] != 2:
        raise PromptError(f"points of shape {points.shape} are not [P, 2]")
    for x, y in points.tolist():
        Click(x, y).check_inside(height=image.height, width=image.width)


def _alike(prompts: Sequence[ImagePrompt]) -> list[dict[int, ImagePrompt]]:
    """Group prompts that make tensors of one shape, each with its place in `prompts`."""
    groups: defaultdict[tuple[int, bool, bool], dict[int, ImagePrompt]] = defaultdict(dict)
    for index, prompt in enumerate(prompts):
        form = len(prompt.clicks), prompt.box is not None, prompt.mask_logits is not None
        groups[form][index] = prompt
    return list(groups.values())


def _rows(prompt: ImagePrompt) -> list[tuple[float, float, int]]:
    """Return (x, y, label) of every point: the corners of the box first, then the clicks."""
    rows: list[tuple[float, float, int]] = []
    if prompt.box is not None:
        box, (start, end) = prompt.box, _BOX_LABELS
        rows += [(box.x0, box.y0, start), (box.x1, box.y1, end)]
    return rows + [(click.x, click.y, int(click.positive)) for click in prompt.clicks]
