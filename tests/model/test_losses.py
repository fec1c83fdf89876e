"""Losses against the golden fixture, and their rules on masks of a few pixels."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest
import torch

from model.losses import StepPrediction, actual_iou, frame_losses
from tests.model.plain_losses import plain_losses


def golden_steps() -> tuple[list[StepPrediction], torch.Tensor]:
    noise = np.random.RandomState(7).standard_normal((2, 3, 16, 16))
    logits = torch.from_numpy((3 * noise).astype(np.float32))
    target = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    target[0, :, 4:12, 4:12] = True
    ious = torch.tensor([[0.2, 0.5, 0.7], [0.1, 0.3, 0.6]])
    score = torch.tensor([[1.5], [-0.5]])
    return [StepPrediction(logits, ious, score), StepPrediction(logits[:, :1], ious[:, :1], score)], target


def test_losses_match_the_reference() -> None:
    expected = json.loads(files("model").joinpath("data/sam2-golden.json").read_text())["loss"]
    terms = frame_losses(*golden_steps())
    assert float(terms.mask) == pytest.approx(expected["loss_mask"], rel=1e-6)
    assert float(terms.dice) == pytest.approx(expected["loss_dice"], rel=1e-6)
    assert float(terms.iou) == pytest.approx(expected["loss_iou"], rel=1e-6)
    assert float(terms.presence) == pytest.approx(expected["loss_class"], rel=1e-6)
    assert float(terms.total()) == pytest.approx(expected["core_loss"], rel=1e-6)


def test_predictions_and_frames_are_summed_not_averaged() -> None:
    steps, target = golden_steps()
    once = frame_losses(steps[:1], target)
    twice = frame_losses([steps[0], steps[0]], target)
    assert float(twice.total()) == pytest.approx(2 * float(once.total()), rel=1e-6)
    assert float((once + once).total()) == pytest.approx(float(twice.total()), rel=1e-6)


def test_an_absent_object_is_supervised_by_presence_only() -> None:
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    score = torch.zeros(1, 1, requires_grad=True)
    step = StepPrediction(logits, torch.full((1, 1), 0.5), score)
    terms = frame_losses([step], torch.zeros(1, 1, 4, 4))
    terms.total().backward()
    assert not any(term.item() for term in (terms.mask, terms.dice, terms.iou))
    assert terms.presence.item() == pytest.approx(np.log(2))
    assert logits.grad is not None and not logits.grad.any()
    assert score.grad is not None and score.grad.item() == pytest.approx(0.5)


def test_only_the_best_candidate_gets_mask_gradients() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    good, bad = 4 * target - 2, 2 - 4 * target
    logits = torch.cat([bad, good], dim=1).requires_grad_()
    frame_losses([StepPrediction(logits, torch.zeros(1, 2), torch.zeros(1, 1))], target).total().backward()
    assert logits.grad is not None
    assert not logits.grad[:, 0].any()
    assert logits.grad[:, 1].any()


def test_perfect_masks_cost_almost_nothing() -> None:
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    step = StepPrediction(40 * target - 20, torch.ones(1, 1), torch.full((1, 1), 20.0))
    assert float(frame_losses([step], target).total()) == pytest.approx(0, abs=1e-6)
    assert float(actual_iou(step.logits, target)) == 1


@pytest.mark.parametrize(("candidates", "side"), [(3, 8), (1, 32), (3, 32), (3, 80)])
def test_values_and_gradients_are_those_of_the_plain_formulas(candidates: int, side: int) -> None:
    """The target has sides of 32 (320 for the last, where enlarging goes another way)."""
    size = 320 if side == 80 else 32
    generator = torch.Generator().manual_seed(side + candidates)
    target = torch.rand(4, 1, size, size, generator=generator) > 0.7
    target[1], target[2] = False, True
    values = [4 * torch.randn(4, candidates, side, side, generator=generator)]
    values[0][3] = -1024.0  # judged absent by mistake
    values += [
        torch.rand(4, candidates, generator=generator),
        torch.randn(4, 1, generator=generator),
    ]
    fast = StepPrediction(*(value.clone().requires_grad_() for value in values))
    plain = StepPrediction(*(value.double().requires_grad_() for value in values))
    losses, expected = frame_losses([fast], target), plain_losses(plain, target)
    for name in ("mask", "dice", "iou", "presence"):
        assert getattr(losses, name).item() == pytest.approx(getattr(expected, name).item(), rel=2e-6)
    losses.total().backward()
    expected.total().backward()
    for name in ("logits", "ious", "object_score"):
        given, wanted = getattr(fast, name).grad, getattr(plain, name).grad
        assert given is not None and wanted is not None
        assert (given - wanted).abs().max() <= 3e-6 * wanted.abs().max()


def test_the_number_of_objects_may_be_an_average_over_processes() -> None:
    steps, target = golden_steps()
    assert float(frame_losses(steps, target, objects=4).total()) == pytest.approx(
        float(frame_losses(steps, target).total()) / 2, rel=1e-6
    )
    assert float(frame_losses(steps, target, objects=0.5).total()) == pytest.approx(
        2 * float(frame_losses(steps, target).total()), rel=1e-6
    )


def test_two_empty_masks_have_iou_zero_for_the_loss() -> None:
    assert float(actual_iou(torch.full((1, 1, 4, 4), -5.0), torch.zeros(1, 1, 4, 4))) == 0
