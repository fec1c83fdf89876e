"""The mask decoder against its plain form, which projects and draws everything for every prompt."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import DecoderConfig
from model.network import mask_decoder
from model.network.mask_decoder import DecoderOutput, MaskDecoder, PromptAnswers
from model.network.two_way import TwoWayBlock

CHANNELS, HEIGHT, WIDTH = 32, 4, 6
CONFIG = DecoderConfig(heads=2, feedforward=48, dynamic_multimask=False)

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None]


def _decoder(config: DecoderConfig = CONFIG, *, sam1: bool = False) -> MaskDecoder:
    torch.manual_seed(0)
    decoder = MaskDecoder(
        CHANNELS, config, has_object_score=not sam1, uses_skips=not sam1, sigmoid_iou=not sam1
    ).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return decoder


def _inputs(prompts: int, *, images: int = 1, skips: bool = True) -> Inputs:
    torch.manual_seed(1)
    fine = torch.randn(images, CHANNELS // 8, 4 * HEIGHT, 4 * WIDTH)
    middle = torch.randn(images, CHANNELS // 4, 2 * HEIGHT, 2 * WIDTH)
    return (
        torch.randn(images, CHANNELS, HEIGHT, WIDTH),
        torch.randn(1, CHANNELS, HEIGHT, WIDTH),
        torch.randn(prompts, 2, CHANNELS),
        torch.randn(1, CHANNELS, 1, 1),
        (fine, middle) if skips else None,
    )


def _plain(decoder: MaskDecoder, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return all masks, IoUs, mask tokens and object scores, step by step as in the paper (appendix D.1)."""
    embedding, position, sparse, dense, high_res = inputs
    count = sparse.shape[0]
    pixels = (embedding + dense).expand(count, -1, -1, -1).flatten(2).transpose(1, 2)
    place = position.flatten(2).transpose(1, 2)
    learned = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if decoder.has_object_score:
        learned.insert(0, decoder.obj_score_token.weight)
    first = tokens = torch.cat((torch.cat(learned)[None].expand(count, -1, -1), sparse), dim=1)
    network = decoder.transformer
    for block in network.layers:
        assert isinstance(block, TwoWayBlock)
        placed = tokens if block.first else tokens + first
        attended = block.self_attn(placed, placed, tokens)
        tokens = block.norm1(attended if block.first else tokens + attended)
        keys = pixels + place
        tokens = block.norm2(tokens + block.cross_attn_token_to_image(tokens + first, keys, pixels))
        tokens = block.norm3(tokens + block.mlp(tokens))
        pixels = block.norm4(pixels + block.cross_attn_image_to_token(keys, tokens + first, tokens))
    looked = network.final_attn_token_to_image(tokens + first, pixels + place, pixels)
    tokens = network.norm_final_attn(tokens + looked)
    score = torch.full((count, 1), torch.inf)
    if decoder.has_object_score:
        score, tokens = decoder.pred_obj_score_head(tokens[:, 0]), tokens[:, 1:]
    ious = decoder.iou_prediction_head(tokens[:, 0])
    tokens = tokens[:, 1:5]
    up1, norm, _, up2, _ = decoder.output_upscaling
    fine, middle = high_res or (torch.zeros(1), torch.zeros(1))
    y = F.gelu(norm(up1(pixels.transpose(1, 2).unflatten(2, (HEIGHT, WIDTH))) + middle))
    y = F.gelu(up2(y) + fine)
    heads = decoder.output_hypernetworks_mlps
    brushes = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], dim=1)
    masks = torch.einsum("nmc,nchw->nmhw", brushes, y)
    return masks, ious.sigmoid() if decoder.sigmoid_iou else ious, tokens, score


def _assert_close(actual: DecoderOutput, expected: Sequence[Tensor]) -> None:
    for one, other in zip(
        (actual.masks, actual.ious, actual.tokens, actual.object_score), expected, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(("prompts", "images"), [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("sam1", [False, True])
def test_the_candidates_equal_the_plain_form(multimask: bool, prompts: int, images: int, sam1: bool) -> None:
    decoder = _decoder(sam1=sam1)
    inputs = _inputs(prompts, images=images, skips=not sam1)
    masks, ious, tokens, score = _plain(decoder, inputs)
    asked = slice(1, None) if multimask else slice(0, 1)
    output = decoder(*inputs, multimask=multimask)
    _assert_close(output, (masks[:, asked], ious[:, asked], tokens[:, asked], score))


def test_gradients_equal_the_plain_form() -> None:
    decoder, inputs = _decoder().train(), _inputs(3)
    gradients = []
    for masks, ious, score in (
        (o.masks, o.ious, o.object_score)
        if isinstance(o, DecoderOutput)
        else (o[0][:, 1:], o[1][:, 1:], o[3])
        for o in (_plain(decoder, inputs), decoder(*inputs, multimask=True))
    ):
        decoder.zero_grad()
        (masks.square().mean() + ious.sum() + score.sum()).backward()
        gradients.append({n: p.grad.clone() for n, p in decoder.named_parameters() if p.grad is not None})
    expected, actual = gradients
    scale = max(float(g.abs().max()) for g in expected.values())
    for name, gradient in expected.items():
        got = actual.get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-5 * scale)


def test_unstable_single_masks_are_replaced_row_by_row() -> None:
    inputs = _inputs(8)
    masks, ious, tokens, score = _plain(_decoder(), inputs)
    delta = 0.5
    inside = (masks[:, 0] > delta).flatten(1).sum(1)
    stability = inside / (masks[:, 0] > -delta).flatten(1).sum(1)
    threshold = float(stability.median())
    config = DecoderConfig(heads=2, feedforward=48, stability_delta=delta, stability_threshold=threshold)
    rows = torch.arange(8)
    chosen = torch.where(stability < threshold, ious[:, 1:].argmax(dim=1) + 1, 0)
    assert 0 < int((chosen > 0).sum()) < 8
    output = _decoder(config)(*inputs, multimask=False)
    _assert_close(output, (masks[rows, chosen][:, None], ious[rows, chosen][:, None], tokens[:, :1], score))


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("images", [1, 9])
def test_answers_are_the_promising_rows(multimask: bool, replaces: bool, images: int) -> None:
    decoder = _decoder(DecoderConfig(heads=2, feedforward=48, dynamic_multimask=replaces))
    inputs = _inputs(9, images=images)
    with torch.inference_mode():
        output = decoder(*inputs, multimask=multimask)
        best = output.ious.max(dim=1).values
        min_iou = float(best.median())
        answers = decoder.answer(*inputs, multimask=multimask, min_iou=min_iou)
        everything = decoder.answer(*inputs, multimask=multimask)
    rows = (best >= min_iou).nonzero()[:, 0]
    assert 0 < len(rows) < 9
    assert torch.equal(answers.rows, rows)
    present = output.object_score[rows, 0] > 0
    torch.testing.assert_close(answers.low_res[present], output.masks[rows][present], rtol=1e-5, atol=1e-5)
    assert (answers.low_res[~present] == mask_decoder.ABSENT_LOGIT).all()
    torch.testing.assert_close(answers.ious, output.ious[rows])
    assert everything.rows.tolist() == list(range(9))


@pytest.mark.parametrize("images", [1, 5])
def test_working_in_small_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    decoder, inputs = _decoder(), _inputs(5, images=images)
    with torch.inference_mode():
        whole = decoder(*inputs, multimask=True)
        answers = decoder.answer(*inputs, multimask=True, min_iou=0.5)
        monkeypatch.setattr(mask_decoder, "_CHUNK_BYTES", 2 * 4 * CHANNELS * HEIGHT * WIDTH)  # two prompts
        monkeypatch.setattr(mask_decoder, "_BLOCK_BYTES", 2 * 8 * CHANNELS * 7)  # seven of 24 pixels
        _assert_close(
            decoder(*inputs, multimask=True), (whole.masks, whole.ious, whole.tokens, whole.object_score)
        )
        parts: PromptAnswers = decoder.answer(*inputs, multimask=True, min_iou=0.5)
    assert torch.equal(parts.rows, answers.rows)
    torch.testing.assert_close(parts.low_res, answers.low_res, rtol=1e-5, atol=1e-5)


def test_the_single_token_needs_no_mask() -> None:
    decoder, inputs = _decoder(), _inputs(3)
    output = decoder(*inputs, multimask=False)
    token, score = decoder.single_token(*inputs[:4])
    torch.testing.assert_close((token, score), (output.tokens[:, 0], output.object_score))


def test_no_prompt_gives_no_answer() -> None:
    decoder = _decoder()
    inputs = _inputs(0)
    assert decoder(*inputs, multimask=True).masks.shape == (0, 3, 16, 24)
    assert decoder.answer(*inputs, multimask=True).rows.tolist() == []


def test_half_precision_finds_the_same_masks() -> None:
    decoder, inputs = _decoder(), _inputs(6)
    with torch.inference_mode():
        exact = decoder(*inputs, multimask=True).masks > 0
        with torch.autocast("cpu", torch.bfloat16):
            rough = decoder(*inputs, multimask=True)
    found = rough.masks > 0
    assert rough.masks.isfinite().all()
    iou = (exact & found).sum() / (exact | found).sum()
    assert iou > 0.95


def test_it_can_be_compiled() -> None:
    decoder, inputs = _decoder(), _inputs(3)
    with torch.inference_mode():
        plain = decoder(*inputs, multimask=True)
        compiled = torch.compile(decoder, backend="eager")(*inputs, multimask=True)
    _assert_close(compiled, (plain.masks, plain.ious, plain.tokens, plain.object_score))


def test_sam1_has_no_keys_of_what_it_lacks() -> None:
    lacking = set(_decoder().state_dict()) - set(_decoder(sam1=True).state_dict())
    assert {name.split(".")[0] for name in lacking} == {
        "obj_score_token",
        "pred_obj_score_head",
        "conv_s0",
        "conv_s1",
    }
