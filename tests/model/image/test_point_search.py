"""Asking about many points, dropping the poor answers, and bringing the rest to full size a few at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.image import point_search
from model.image.image_predictor import ImagePredictor
from model.image.point_search import ask_points, full_size
from model.network.sam2 import Sam2

POINTS = np.array([[10, 10], [30, 20], [55, 39], [5, 38]], dtype=np.float32)


@pytest.fixture
def predictor(micro_model: Sam2) -> ImagePredictor:
    predictor = ImagePredictor(micro_model)
    predictor.set_image(np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8))
    return predictor


def test_every_candidate_of_a_point_comes_with_its_point(predictor: ImagePredictor) -> None:
    found, answers = ask_points(predictor, POINTS), predictor.predict_points(POINTS)
    assert len(found) == 12
    np.testing.assert_array_equal(found.points, POINTS.repeat(3, axis=0))
    assert torch.equal(found.low_res, answers.low_res_logits.flatten(0, 1))
    np.testing.assert_array_equal(found.ious, answers.ious.flatten().numpy())
    assert found.visible.all()


def test_poor_candidates_are_dropped_one_by_one(predictor: ImagePredictor) -> None:
    everything = ask_points(predictor, POINTS)
    middle = float(np.sort(everything.ious)[6])
    found = ask_points(predictor, POINTS, min_iou=middle)
    keep = np.flatnonzero(everything.ious >= middle)
    assert len(found) == 6
    np.testing.assert_array_equal(found.points, everything.points[keep])
    torch.testing.assert_close(found.low_res, everything[keep].low_res, atol=1e-4, rtol=0)
    assert len(ask_points(predictor, POINTS, min_iou=2.0)) == 0


def test_earlier_answers_refine(predictor: ImagePredictor) -> None:
    first = ask_points(predictor, POINTS, multimask=False)
    again = ask_points(predictor, first.points, mask_logits=first.low_res, multimask=False)
    assert len(first) == len(again) == 4
    assert not torch.equal(first.low_res, again.low_res)


@pytest.mark.parametrize(("masks_in_budget", "sizes"), [(5, [5, 5, 2]), (0.5, [1] * 12), (100, [12])])
def test_only_so_many_masks_are_at_full_size_together(
    predictor: ImagePredictor, monkeypatch: pytest.MonkeyPatch, masks_in_budget: float, sizes: list[int]
) -> None:
    monkeypatch.setattr(point_search, "_CPU_BYTES", int(masks_in_budget * 4 * 40 * 56))
    candidates = ask_points(predictor, POINTS)
    parts = list(full_size(predictor, candidates))
    assert [len(some) for some, _ in parts] == [len(logits) for _, logits in parts] == sizes
    whole = torch.cat([logits for _, logits in parts])
    assert whole.shape == (12, 40, 56)
    torch.testing.assert_close(whole, predictor.full_size(candidates.low_res))
