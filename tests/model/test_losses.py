"""Losses against the golden fixture, and their rules on masks of a few pixels."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest
import torch

from model.losses import StepPrediction, actual_iou, dice_loss, focal_loss, frame_losses


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
    logits = 40 * target - 20
    assert float(focal_loss(logits, target)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(logits, target)) == pytest.approx(0, abs=1e-6)
    assert float(actual_iou(logits, target)) == 1


def test_two_empty_masks_have_iou_zero_for_the_loss() -> None:
    assert float(actual_iou(torch.full((1, 1, 4, 4), -5.0), torch.zeros(1, 1, 4, 4))) == 0
