"""Asking about one image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.errors import PromptError
from model.image.image_predictor import ImagePredictor, ImagePrompt
from model.network.sam2 import Sam2
from model.prompts import Box, Click
from model.sam1.config import Sam1Config
from model.sam1.sam1 import Sam1


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


@pytest.mark.parametrize("kind", ["sam2", "sam1"])
def test_a_mask_can_be_refined_like_an_answer(predictor: ImagePredictor, kind: str) -> None:
    if kind == "sam1":
        config = Sam1Config(size="x", width=8, depth=1, heads=1, global_blocks=(), image_size=64, dim=32)
        predictor = ImagePredictor(Sam1(config).eval())
        predictor.set_image(np.zeros((40, 56, 3), dtype=np.uint8))
    mask = np.zeros((40, 56), dtype=bool)
    mask[8:32, 14:42] = True
    logits = predictor.logits_of(mask)
    assert logits.shape == (16, 16) and np.abs(logits).max() == 10
    back = predictor.full_size(torch.from_numpy(logits)[None])[0].numpy() > 0
    assert (back & mask).sum() / (back | mask).sum() > 0.85
    predictor.predict([Click(10, 10)], mask_logits=logits, multimask=False)
    mask[:] = False
    assert (predictor.logits_of(mask) == -10).all()
    mask[20, 20] = True
    assert (predictor.logits_of(mask) > 0).sum() == 1
    with pytest.raises(PromptError, match="not on an image of"):
        predictor.logits_of(mask[:-1])


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


def test_prompts_in_a_batch_equal_prompts_alone(predictor: ImagePredictor) -> None:
    logits = predictor.predict([Click(5, 5)], multimask=False).low_res_logits[0]
    prompts = [
        ImagePrompt([Click(10, 10)]),
        ImagePrompt([Click(10, 10), Click(3, 30, False)]),
        ImagePrompt([Click(40, 12)]),
        ImagePrompt([Click(10, 10)], Box(5, 5, 20, 30)),
        ImagePrompt(box=Box(5, 5, 20, 30)),
        ImagePrompt(mask_logits=logits),
        ImagePrompt([Click(20, 12)], mask_logits=logits),
    ]
    batch = predictor.predict_batch(prompts, multimask=False)
    for prompt, together in zip(prompts, batch, strict=True):
        alone = predictor.predict(
            prompt.clicks, box=prompt.box, mask_logits=prompt.mask_logits, multimask=False
        )
        np.testing.assert_allclose(together.low_res_logits, alone.low_res_logits, atol=1e-3)
        np.testing.assert_allclose(together.ious, alone.ious, atol=1e-5)
        assert together.object_score == pytest.approx(alone.object_score, abs=1e-4)
    assert predictor.predict_batch([]) == []


def test_points_of_low_predicted_iou_are_left_out(predictor: ImagePredictor) -> None:
    points = np.array([[10, 10], [30, 20], [55, 39]], dtype=np.float32)
    everything = predictor.predict_points(points)
    limit = float(everything.ious.amax(dim=1).sort().values[1])
    some = predictor.predict_points(points, min_iou=limit)
    expected = [row for row in range(3) if everything.ious[row].max() >= limit]
    assert some.rows.tolist() == expected and len(expected) == 2
    torch.testing.assert_close(some.low_res_logits, everything.low_res_logits[expected], atol=1e-4, rtol=0)
    assert predictor.predict_points(points, min_iou=2.0).low_res_logits.shape == (0, 3, 16, 16)


def test_points_can_be_refined(predictor: ImagePredictor) -> None:
    points = np.array([[10, 10], [30, 20]], dtype=np.float32)
    earlier = predictor.predict_points(points).low_res_logits[:, :1]
    refined = predictor.predict_points(points, mask_logits=earlier, multimask=False)
    assert refined.low_res_logits.shape == (2, 1, 16, 16)
    alone = predictor.predict([Click(30, 20)], mask_logits=earlier[1, 0].numpy(), multimask=False)
    np.testing.assert_allclose(
        refined.low_res_logits[1].clamp(-32, 32).numpy(), alone.low_res_logits, atol=1e-3
    )


def test_full_size_is_what_the_masks_are_cut_from(predictor: ImagePredictor) -> None:
    answer = predictor.predict([Click(10, 10)])
    full = predictor.full_size(torch.from_numpy(answer.low_res_logits))
    assert full.shape == (3, 40, 56)
    assert np.array_equal((full > 0).numpy(), answer.masks)


def test_holes_and_specks_of_the_low_res_mask_are_tidied(micro_model: Sam2) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    plain, tidy = ImagePredictor(micro_model), ImagePredictor(micro_model, max_hole_area=300)
    plain.set_image(rgb)
    tidy.set_embedding(plain.image)
    before, after = plain.predict([Click(10, 10)]), tidy.predict([Click(10, 10)])
    assert np.array_equal(before.low_res_logits, after.low_res_logits)
    assert after.masks.all() and not before.masks.all()


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
    with pytest.raises(PromptError, match=r"not \(16, 16\)"):
        predictor.predict([Click(1, 1)], mask_logits=np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(PromptError, match="not finite"):
        predictor.predict([Click(1, 1)], mask_logits=np.full((16, 16), np.nan, dtype=np.float32))
    with pytest.raises(PromptError, match=r"not \[P, 2\]"):
        predictor.predict_points(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(PromptError, match="not finite"):
        predictor.predict_points(np.array([[np.nan, 1]], dtype=np.float32))
    with pytest.raises(PromptError, match=r"not \(1, 1, 16, 16\)"):
        predictor.predict_points(np.ones((1, 2), dtype=np.float32), mask_logits=torch.zeros(1, 1, 8, 8))
    with pytest.raises(PromptError, match="float64"):
        predictor.set_image(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
