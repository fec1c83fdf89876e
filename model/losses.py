"""The training losses of SAM 2: focal and dice on masks, ℓ1 on predicted IoU, cross-entropy on presence.

A frame may be predicted several times (a first prompt and corrective clicks); every one of those
predictions is supervised. Losses are sums over objects, predictions and frames, divided by the number of
objects only: nothing is averaged over predictions or frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


@dataclass(frozen=True, slots=True)
class StepPrediction:
    """One prediction of one frame.

    `logits` [N,M,H,W] mask logits of the M candidates, `ious` [N,M] predicted IoU in 0…1, `object_score`
    [N,1] presence logits.
    """

    logits: Tensor
    ious: Tensor
    object_score: Tensor


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the four terms in the total."""

    mask: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalar tensors: the four unweighted terms. Add terms of frames with `+`."""

    mask: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor

    def __add__(self, other: LossTerms) -> LossTerms:
        return LossTerms(
            self.mask + other.mask,
            self.dice + other.dice,
            self.iou + other.iou,
            self.presence + other.presence,
        )

    def total(self, weights: LossWeights | None = None) -> Tensor:
        """Weighted sum, a scalar tensor."""
        w = weights or LossWeights()
        return w.mask * self.mask + w.dice * self.dice + w.iou * self.iou + w.presence * self.presence


def frame_losses(
    steps: Sequence[StepPrediction], target: Tensor, *, objects: float | None = None
) -> LossTerms:
    """Losses of one frame, summed over its predictions and divided by the number of objects.

    `target` [N,1,H,W] bool or float 0/1. An object absent from the target is supervised by the presence
    term only. `objects` is the divisor, at least 1: N by default, its average where several processes share
    a batch.
    """
    truth = target.float()
    divisor = max(1.0, truth.shape[0] if objects is None else objects)
    present = truth.flatten(1).any(dim=1).float()  # N
    terms = [_step_losses(step, truth, present, divisor) for step in steps]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _step_losses(step: StepPrediction, truth: Tensor, present: Tensor, objects: float) -> LossTerms:
    focal = focal_loss(step.logits, truth)  # N M
    dice = dice_loss(step.logits, truth)  # N M
    iou_error = (step.ious - actual_iou(step.logits, truth)).abs()  # N M
    weights = LossWeights()
    best = (weights.mask * focal + weights.dice * dice).argmin(dim=1, keepdim=True)  # N 1
    presence = F.binary_cross_entropy_with_logits(step.object_score.squeeze(1), present, reduction="sum")
    return LossTerms(
        mask=(focal.gather(1, best).squeeze(1) * present).sum() / objects,
        dice=(dice.gather(1, best).squeeze(1) * present).sum() / objects,
        iou=(iou_error.mean(dim=1) * present).sum() / objects,
        presence=presence / objects,
    )


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Focal loss, mean over pixels: logits [N,M,H,W], truth [N,1,H,W] → [N,M]."""
    truth = truth.expand_as(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    miss = probability + truth - 2.0 * probability * truth  # 1 - probability of the true class
    alpha = FOCAL_ALPHA * truth + (1.0 - FOCAL_ALPHA) * (1.0 - truth)
    return (alpha * cross_entropy * miss**FOCAL_GAMMA).flatten(2).mean(dim=2)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft dice loss with a smoothing of one pixel: logits [N,M,H,W], truth [N,1,H,W] → [N,M]."""
    probability = logits.sigmoid().flatten(2)  # N M HW
    flat = truth.flatten(2)  # N 1 HW
    overlap = (probability * flat).sum(dim=2)
    return 1.0 - (2.0 * overlap + 1.0) / (probability.sum(dim=2) + flat.sum(dim=2) + 1.0)


@torch.no_grad()
def actual_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of the thresholded logits [N,M,H,W] with the truth [N,1,H,W] → [N,M]; two empty masks give 0."""
    predicted = (logits > 0).flatten(2)
    flat = (truth > 0.5).flatten(2)
    overlap = (predicted & flat).sum(dim=2).float()
    union = (predicted | flat).sum(dim=2).clamp(min=1).float()
    return overlap / union
