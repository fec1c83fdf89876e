"""The pure network: shapes, choice between candidates, absence, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import Sam2Config
from model.network.memory_bank import FrameMemory, MemoryBank, assemble, plan_memory
from model.network.sam2 import ABSENT_LOGIT, ImageFeatures, Sam2, StepPrompt, uses_multimask


def _features(model: Sam2, batch: int = 1) -> ImageFeatures:
    generator = torch.Generator().manual_seed(0)
    return model.encode_images(torch.randn(batch, 3, model.image_size, model.image_size, generator=generator))


def _click(count: int = 1) -> tuple[Tensor, Tensor]:
    return torch.full((count, 1, 2), 20.0), torch.ones(count, 1, dtype=torch.long)


def test_image_feature_shapes(micro_model: Sam2) -> None:
    features = _features(micro_model, batch=2)
    assert features.embedding.shape == (2, 32, 4, 4)
    assert features.embedding_pos.shape == (1, 32, 4, 4)
    assert [tuple(s.shape) for s in features.high_res] == [(2, 4, 16, 16), (2, 8, 8, 8)]
    picked = features.select(torch.tensor([1, 1, 0]))
    assert picked.embedding.shape[0] == 3
    assert torch.equal(picked.high_res[1][2], features.high_res[1][0])


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_head_shapes(micro_model: Sam2, multimask: bool, count: int) -> None:
    features = _features(micro_model, batch=2)
    conditioned = micro_model.condition(features, None)
    heads = micro_model.sam_heads(conditioned, features.high_res, points=_click(2), multimask=multimask)
    assert heads.low_res_multimasks.shape == (2, count, 16, 16)
    assert heads.high_res_multimasks.shape == (2, count, 64, 64)
    assert heads.ious.shape == (2, count)
    assert (heads.low_res.shape, heads.high_res.shape) == ((2, 1, 16, 16), (2, 1, 64, 64))
    assert (heads.pointer.shape, heads.object_score.shape) == ((2, 32), (2, 1))
    assert torch.equal(heads.iou[:, 0], heads.ious.max(dim=1).values)


def test_the_best_candidate_is_the_answer(micro_model: Sam2) -> None:
    features = _features(micro_model)
    heads = micro_model.sam_heads(features.embedding, features.high_res, points=_click(), multimask=True)
    best = int(heads.ious.argmax())
    assert torch.equal(heads.low_res[:, 0], heads.low_res_multimasks[:, best])


def test_an_absent_object_has_no_mask_and_the_absent_pointer(micro_model: Sam2) -> None:
    with torch.no_grad():
        micro_model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias -= 100.0
    features = _features(micro_model)
    heads = micro_model.sam_heads(features.embedding, features.high_res, points=_click(), multimask=True)
    assert (heads.low_res_multimasks == ABSENT_LOGIT).all()
    assert torch.equal(heads.pointer, micro_model.no_obj_ptr)


def test_an_unstable_single_mask_gives_way_in_evaluation(micro_config: Sam2Config, micro_model: Sam2) -> None:
    features = _features(micro_model)

    def single(model: Sam2) -> Tensor:
        model.load_state_dict(micro_model.state_dict())
        return model.sam_heads(
            features.embedding, features.high_res, points=_click(), multimask=False
        ).low_res

    def build(threshold: float) -> Sam2:
        decoder = replace(micro_config.decoder, stability_threshold=threshold)
        return Sam2(replace(micro_config, decoder=decoder))

    candidates = micro_model.sam_heads(features.embedding, features.high_res, points=_click(), multimask=True)
    assert torch.allclose(single(build(1.1).eval()), candidates.low_res)  # never stable enough
    assert not torch.allclose(single(build(0.0).eval()), candidates.low_res)
    assert torch.allclose(single(build(1.1).train()), single(build(0.0).eval()))


def test_a_mask_prompt_is_the_answer(micro_model: Sam2) -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 8:40, 8:40] = 1
    heads = micro_model.mask_as_output(_features(micro_model, 2), mask)
    assert torch.equal(heads.high_res > 0, mask > 0)
    assert heads.object_score.flatten().tolist() == [10.0, -10.0]
    assert heads.ious.flatten().tolist() == [1.0, 1.0]
    assert torch.equal(heads.pointer[1:], micro_model.no_obj_ptr)


def test_the_pointer_of_a_mask_is_that_of_the_mask_prompt(micro_model: Sam2) -> None:
    features = _features(micro_model)
    mask = torch.zeros(3, 1, 64, 64)
    mask[:, :, 8:40, 8:40] = torch.tensor([1.0, 1.0, 0.0])[:, None, None, None]
    prompt = micro_model.mask_downsample(mask)
    heads = micro_model.sam_heads(features.embedding, features.high_res, mask_logits=prompt, multimask=False)
    pointer = micro_model.mask_as_output(features, mask).pointer
    torch.testing.assert_close(pointer[:2], heads.pointer[:2])
    assert torch.equal(pointer[2:], micro_model.no_obj_ptr)


def test_memory_marks_absent_objects_from_2_1_on(micro_model: Sam2, micro_v20: Sam2) -> None:
    for model, differs in ((micro_model, True), (micro_v20, False)):
        features = _features(model)
        logits = torch.full((1, 1, 64, 64), -5.0)
        seen, place = model.encode_memory(features, logits, torch.tensor([[1.0]]), binarize=False)
        absent, _ = model.encode_memory(features, logits, torch.tensor([[-1.0]]), binarize=False)
        assert seen.shape == (1, 16, 4, 4) and place.shape == (1, 16, 4, 4)
        assert torch.equal(seen, absent) is not differs


@pytest.mark.parametrize(("points", "expected"), [(0, True), (1, True), (2, False)])
def test_ambiguous_prompts_get_three_candidates(points: int, expected: bool) -> None:
    prompt = (torch.zeros(1, points, 2), torch.zeros(1, points)) if points else None
    assert uses_multimask(prompt) is expected


def _track_two_frames(model: Sam2) -> Tensor:
    """A loss over a clicked frame and the frame tracked after it."""
    features = _features(model, batch=2)
    first, second = features.select(torch.tensor([0])), features.select(torch.tensor([1]))
    step = model.track_step(first, None, StepPrompt(points=_click()))
    assert isinstance(step.memory, FrameMemory)
    bank = MemoryBank({0: step.memory}, {})
    plan = plan_memory([0], [], frame=1, frame_count=2, config=model.config.memory)
    tracked = model.track_step(second, assemble(model, plan, bank), StepPrompt())
    heads = (step.heads, tracked.heads)
    masks = sum(h.high_res_multimasks.square().mean() for h in heads)
    return torch.as_tensor(masks) + sum(h.ious.sum() + h.object_score.sum() for h in heads)


def test_gradients_reach_every_part(micro_model: Sam2) -> None:
    _track_two_frames(micro_model.train()).backward()
    without = {name for name, p in micro_model.named_parameters() if p.requires_grad and p.grad is None}
    mask_prompt = {n for n in without if n.startswith(("sam_prompt_encoder.mask", "mask_downsample."))}
    boxes = {f"sam_prompt_encoder.point_embeddings.{i}.weight" for i in (0, 2, 3)}
    mask_zero = {n for n in without if n.startswith("sam_mask_decoder.output_hypernetworks_mlps.0.")}
    absent = {"no_obj_embed_spatial", "no_obj_ptr"}
    assert without <= mask_prompt | boxes | mask_zero | absent


def test_weights_work_at_another_image_size(micro_config: Sam2Config, micro_model: Sam2) -> None:
    larger = Sam2(replace(micro_config, image_size=96)).eval()
    larger.load_state_dict(micro_model.state_dict())
    features = _features(larger)
    heads = larger.sam_heads(features.embedding, features.high_res, points=_click(), multimask=True)
    assert heads.high_res.shape == (1, 1, 96, 96)


def test_preprocess_normalises(micro_model: Sam2) -> None:
    rgb = torch.full((1, 10, 20, 3), 255, dtype=torch.uint8)
    images = micro_model.preprocess(rgb)
    assert images.shape == (1, 3, 64, 64)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(images[0, :, 5, 5], expected, atol=1e-5)


def test_a_batch_equals_its_parts(micro_model: Sam2) -> None:
    features = _features(micro_model, batch=3)
    conditioned = micro_model.condition(features, None)
    together = micro_model.sam_heads(conditioned, features.high_res, points=_click(3), multimask=True)
    for row in range(3):
        one = features.select(torch.tensor([row]))
        alone = micro_model.sam_heads(
            conditioned[row : row + 1], one.high_res, points=_click(), multimask=True
        )
        assert torch.allclose(together.low_res[row], alone.low_res[0], atol=1e-4)
        assert torch.allclose(together.pointer[row], alone.pointer[0], atol=1e-4)


def _clicks(count: int) -> tuple[Tensor, Tensor]:
    coords = torch.rand(count, 1, 2, generator=torch.Generator().manual_seed(1)) * 64
    return coords, torch.ones(count, 1, dtype=torch.long)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
def test_one_image_stands_for_all_its_prompts(micro_model: Sam2, multimask: bool, with_mask: bool) -> None:
    features = _features(micro_model)
    mask = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(2)) if with_mask else None
    copied = features.select(torch.zeros(5, dtype=torch.long))
    plain = micro_model.sam_heads(
        copied.embedding, copied.high_res, points=_clicks(5), mask_logits=mask, multimask=multimask
    )
    shared = micro_model.sam_heads(
        features.embedding, features.high_res, points=_clicks(5), mask_logits=mask, multimask=multimask
    )
    for name in ("low_res_multimasks", "ious", "high_res", "pointer", "object_score"):
        torch.testing.assert_close(getattr(shared, name), getattr(plain, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
def test_unpromising_prompts_are_left_out(micro_model: Sam2, multimask: bool) -> None:
    features = _features(micro_model)
    heads = micro_model.sam_heads(
        features.embedding, features.high_res, points=_clicks(6), multimask=multimask
    )
    best = heads.ious.detach().max(dim=1).values
    min_iou = float(best.median())
    answers = micro_model.answer_prompts(
        features.embedding, features.high_res, points=_clicks(6), multimask=multimask, min_iou=min_iou
    )
    assert answers.rows.tolist() == (best >= min_iou).nonzero()[:, 0].tolist()
    assert 0 < len(answers.rows) < 6
    torch.testing.assert_close(answers.low_res, heads.low_res_multimasks[answers.rows])
    torch.testing.assert_close(answers.ious, heads.ious[answers.rows])
    torch.testing.assert_close(answers.object_scores, heads.object_score[answers.rows, 0])


def test_no_promising_prompt_gives_empty_answers(micro_model: Sam2) -> None:
    features = _features(micro_model)
    answers = micro_model.answer_prompts(
        features.embedding, features.high_res, points=_clicks(4), min_iou=2.0
    )
    assert answers.low_res.shape == (0, 3, 16, 16)
    assert (answers.ious.shape, answers.object_scores.shape) == ((0, 3), (0,))
