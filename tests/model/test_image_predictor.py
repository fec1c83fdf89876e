"""Asking about one image."""

from __future__ import annotations

import numpy as np
import pytest

from model.errors import PromptError
from model.image_predictor import ImagePredictor
from model.prompts import Box, Click
from model.sam2 import Sam2


@pytest.fixture
def predictor(micro_model: Sam2) -> ImagePredictor:
    predictor = ImagePredictor(micro_model)
    predictor.set_image(np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8))
    return predictor


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_masks_have_the_size_of_the_image(predictor: ImagePredictor, multimask: bool, count: int) -> None:
    answer = predictor.predict([Click(10, 10)], multimask=multimask)
    assert (answer.masks.shape, answer.masks.dtype) == ((count, 40, 56), np.bool_)
    assert answer.ious.shape == (count,)
    assert answer.low_res_logits.shape == (count, 16, 16)
    assert np.abs(answer.low_res_logits).max() <= 32
    assert answer.ious[answer.best] == answer.ious.max()


def test_an_answer_can_be_refined(predictor: ImagePredictor) -> None:
    first = predictor.predict([Click(10, 10)])
    logits = first.low_res_logits[first.best]
    refined = predictor.predict([Click(10, 10), Click(30, 30, False)], mask_logits=logits, multimask=False)
    plain = predictor.predict([Click(10, 10), Click(30, 30, False)], multimask=False)
    assert not np.array_equal(refined.low_res_logits, plain.low_res_logits)


def test_points_in_a_batch_equal_points_alone(predictor: ImagePredictor) -> None:
    points = np.array([[10, 10], [30, 20], [55, 39]], dtype=np.float32)
    batch = predictor.predict_points(points)
    assert batch.low_res_logits.shape == (3, 3, 16, 16)
    assert batch.ious.shape == batch.stabilities.shape == (3, 3)
    for row, (x, y) in enumerate(points.tolist()):
        alone = predictor.predict([Click(x, y)])
        np.testing.assert_allclose(
            batch.low_res_logits[row].clamp(-32, 32).numpy(), alone.low_res_logits, atol=1e-3
        )


def test_a_box_is_a_prompt(predictor: ImagePredictor) -> None:
    assert predictor.predict(box=Box(5, 5, 20, 30), multimask=False).masks.shape == (1, 40, 56)


def test_wrong_questions_are_refused(predictor: ImagePredictor, micro_model: Sam2) -> None:
    with pytest.raises(PromptError, match="set_image"):
        ImagePredictor(micro_model).predict([Click(1, 1)])
    with pytest.raises(PromptError, match="nothing is prompted"):
        predictor.predict()
    with pytest.raises(PromptError, match="outside the frame"):
        predictor.predict([Click(100, 1)])
    with pytest.raises(PromptError, match="outside the frame"):
        predictor.predict_points(np.array([[1, 100]], dtype=np.float32))
    with pytest.raises(PromptError, match="not square"):
        predictor.predict([Click(1, 1)], mask_logits=np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(PromptError, match="not finite"):
        predictor.predict([Click(1, 1)], mask_logits=np.full((16, 16), np.nan, dtype=np.float32))
    with pytest.raises(PromptError, match="float64"):
        predictor.set_image(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
