"""The losses as formulas, one candidate and one pixel like the other: what the fast ones are compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from model.losses import FOCAL_ALPHA, LossTerms, StepPrediction, actual_iou


def plain_losses(step: StepPrediction, target: Tensor) -> LossTerms:
    """`frame_losses` of one prediction, with automatic derivatives; target [N,1,H,W]."""
    truth = target.to(step.logits.dtype)
    logits = F.interpolate(step.logits, size=truth.shape[-2:], mode="bilinear")
    present = truth.flatten(1).any(dim=1).to(truth.dtype)
    focal, dice = focal_loss(logits, truth), dice_loss(logits, truth)
    best = (20.0 * focal + dice).argmin(dim=1, keepdim=True)
    iou = (step.ious - actual_iou(logits, truth)).abs().mean(dim=1)
    score = step.object_score.squeeze(1)
    return LossTerms(
        mask=(focal.gather(1, best)[:, 0] * present).sum() / len(truth),
        dice=(dice.gather(1, best)[:, 0] * present).sum() / len(truth),
        iou=(iou * present).sum() / len(truth),
        presence=F.binary_cross_entropy_with_logits(score, present, reduction="sum") / len(truth),
    )


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over pixels [N,M] of the focal loss of exponent 2."""
    truth = truth.expand_as(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    miss = probability + truth - 2.0 * probability * truth  # 1 - probability of the true class
    alpha = FOCAL_ALPHA * truth + (1.0 - FOCAL_ALPHA) * (1.0 - truth)
    return (alpha * cross_entropy * miss**2).flatten(2).mean(dim=2)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft dice loss [N,M] with a smoothing of one pixel."""
    probability = logits.sigmoid().flatten(2)  # N M HW
    flat = truth.flatten(2)  # N 1 HW
    overlap = (probability * flat).sum(dim=2)
    return 1.0 - (2.0 * overlap + 1.0) / (probability.sum(dim=2) + flat.sum(dim=2) + 1.0)
