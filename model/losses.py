"""The training losses of SAM 2: focal and dice on masks, ℓ1 on predicted IoU, cross-entropy on presence.

A frame may be predicted several times (a first prompt and corrective clicks); every one of those
predictions is supervised. Losses are sums over objects, predictions and frames, divided by the number of
objects only: nothing is averaged over predictions or frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.layers import enlarge, enlarge_transposed

FOCAL_ALPHA = 0.25  # weight of pixels of the object; the exponent of the focal loss is 2


@dataclass(frozen=True, slots=True)
class StepPrediction:
    """One prediction of one frame.

    `logits` [N,M,h,w] mask logits of the M candidates, of the target's size or smaller (then they are enlarged
    bilinearly to it), `ious` [N,M] predicted IoU in 0…1, `object_score` [N,1] presence logits.
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
    divisor = max(1.0, target.shape[0] if objects is None else objects)
    truth = _Truth.of(target)
    terms = [_step_losses(step, truth, divisor) for step in steps]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@dataclass(frozen=True, slots=True)
class _Truth:
    """What all predictions of a frame are compared with."""

    mask: Tensor  # float 0/1 [N,1,H,W]
    sign: Tensor  # [N,1,H,W]: -1 in the object, 1 outside
    columns: Tensor  # [N,HW,2]: the mask and ones, with which pixels are summed; each column in one piece of memory
    area: Tensor  # pixels of the object [N,1]
    present: Tensor  # float 0/1 [N]: does the object have a pixel?

    @classmethod
    def of(cls, target: Tensor) -> _Truth:
        mask = target.float()
        columns = torch.stack((mask.flatten(1), torch.ones_like(mask).flatten(1)), dim=1).transpose(1, 2)
        area = mask.flatten(1).sum(dim=1, keepdim=True)
        return cls(mask, 1.0 - 2.0 * mask, columns, area, (area[:, 0] > 0).float())


def _step_losses(step: StepPrediction, truth: _Truth, objects: float) -> LossTerms:
    focal, dice, actual = _MaskTerms.apply(step.logits, truth)  # type: ignore[no-untyped-call]
    iou_error = (step.ious.float() - actual).abs().mean(dim=1)  # N
    score = step.object_score.float().squeeze(1)
    presence = F.binary_cross_entropy_with_logits(score, truth.present, reduction="sum")
    return LossTerms(
        mask=(focal * truth.present).sum() / objects,
        dice=(dice * truth.present).sum() / objects,
        iou=(iou_error * truth.present).sum() / objects,
        presence=presence / objects,
    )


class _MaskTerms(torch.autograd.Function):
    """Focal and dice loss [N] of the best candidate, and the IoU [N,M] of all, of logits [N,M,h,w].

    The best candidate has the smallest 20·focal + dice, and only it gets a gradient. The derivatives are written
    down and taken in the forward pass, at the size of the logits: nothing of the target's size is kept. With
    s = ±logit positive where a pixel is wrong, the chance of the wrong class is m = σ(s) and the cross-entropy
    c = softplus(s); focal = α·c·m² and its derivative α·m²·(m + 2c·(1 - m)) by s.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, truth: _Truth) -> tuple[Tensor, Tensor, Tensor]:
        """Return focal, dice and IoU."""
        with torch.autocast(logits.device.type, enabled=False):
            large = enlarge(logits.float(), _size(truth.mask))
            wrong = large * truth.sign  # N M H W
            miss, entropy = wrong.sigmoid(), F.softplus(wrong)
            focal = _focal(miss, entropy, truth)  # N M
            overlap, extent = _overlap(miss, truth)  # N M
            dice = 1.0 - (2.0 * overlap + 1.0) / (extent + 1.0)
            weights = LossWeights()
            best = (weights.mask * focal + weights.dice * dice).argmin(dim=1, keepdim=True)  # N 1
            actual = _iou(large, truth)
            if ctx.needs_input_grad[0]:
                rows = torch.arange(len(best), device=best.device), best[:, 0]
                slopes = torch.stack(
                    (
                        _focal_slope(miss[rows], entropy[rows], truth),
                        _dice_slope(miss[rows], overlap[rows], extent[rows], truth),
                    ),
                    dim=1,
                )  # N 2 H W
                ctx.save_for_backward(enlarge_transposed(slopes, _size(logits)), best)
                ctx.shape, ctx.dtype = logits.shape, logits.dtype
        ctx.mark_non_differentiable(actual)
        return focal.gather(1, best)[:, 0], dice.gather(1, best)[:, 0], actual

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the logits."""
        slopes, best = ctx.saved_tensors
        by_focal, by_dice = (gradient[:, None, None] for gradient in gradients[:2])
        chosen = torch.addcmul(by_focal * slopes[:, 0], by_dice, slopes[:, 1])[:, None]  # N 1 h w
        if ctx.shape[1] == 1:
            return chosen.to(ctx.dtype), None
        result = chosen.new_zeros(ctx.shape)
        result[torch.arange(len(best), device=best.device), best[:, 0]] = chosen[:, 0]
        return result.to(ctx.dtype), None


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _sums(pixels: Tensor, truth: _Truth) -> tuple[Tensor, Tensor]:
    """Sums [N,M] of pixels [N,M,H,W] over the object and over everything."""
    inside, everywhere = torch.bmm(pixels.flatten(2), truth.columns).unbind(2)
    return inside, everywhere


def _focal(miss: Tensor, entropy: Tensor, truth: _Truth) -> Tensor:
    """Mean over pixels [N,M]; weight FOCAL_ALPHA in the object, 1 - FOCAL_ALPHA outside."""
    inside, everywhere = _sums(entropy * miss * miss, truth)
    total = FOCAL_ALPHA * inside + (1.0 - FOCAL_ALPHA) * (everywhere - inside)
    return total / truth.columns.shape[1]


def _overlap(miss: Tensor, truth: _Truth) -> tuple[Tensor, Tensor]:
    """Soft intersection [N,M], and the sum [N,M] of the soft areas of prediction and truth."""
    inside, everywhere = _sums(miss, truth)
    overlap = truth.area - inside
    return overlap, overlap + (everywhere - inside) + truth.area


def _iou(logits: Tensor, truth: _Truth) -> Tensor:
    """IoU [N,M] of the thresholded logits with the truth; two empty masks give 0."""
    inside, everywhere = _sums((logits > 0).float(), truth)
    return inside / (truth.area + everywhere - inside).clamp(min=1.0)


def _focal_slope(miss: Tensor, entropy: Tensor, truth: _Truth) -> Tensor:
    """Derivative [N,H,W] of the mean focal loss by the logits of one candidate."""
    sign = truth.sign[:, 0]
    # sign · weight / pixels: -alpha in the object, 1 - alpha outside
    weight = (sign + (1.0 - 2.0 * FOCAL_ALPHA)) * (0.5 / truth.columns.shape[1])
    return weight * miss.square() * (miss + 2.0 * entropy * (1.0 - miss))


def _dice_slope(miss: Tensor, overlap: Tensor, extent: Tensor, truth: _Truth) -> Tensor:
    """Derivative [N,H,W] of the dice loss by the logits of one candidate."""
    extent = (extent + 1.0)[:, None, None]
    everywhere = (2.0 * overlap + 1.0)[:, None, None] / extent.square()
    return (everywhere - (2.0 / extent) * truth.mask[:, 0]) * (miss - miss.square())


@torch.no_grad()
def actual_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of the thresholded logits [N,M,H,W] with the truth [N,1,H,W] → [N,M]; two empty masks give 0."""
    predicted = (logits > 0).flatten(2)
    flat = (truth > 0.5).flatten(2)
    overlap = (predicted & flat).sum(dim=2).float()
    union = (predicted | flat).sum(dim=2).clamp(min=1).float()
    return overlap / union
