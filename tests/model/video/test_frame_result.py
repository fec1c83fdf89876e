"""Results make full-size masks on demand, one object at a time; the plain way at once is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.network.layers import resize
from model.postprocess import fill_logit_holes
from model.video.frame_result import FrameResult, MaskTidying
from storage.masks import Rle, encode

HEIGHT, WIDTH = 40, 56


def _result(tidying: MaskTidying, *, given: Rle | None = None, locked: bool = False) -> FrameResult:
    generator = np.random.default_rng(0)
    ones = np.ones(3, dtype=np.float32)
    return FrameResult(
        frame=0,
        object_ids=(1, 2, 3),
        low_res=generator.normal(size=(3, 16, 16)).astype(np.float32),
        height=HEIGHT,
        width=WIDTH,
        given=(None, given, None),
        object_scores=ones,
        predicted_ious=ones,
        stabilities=ones,
        locked=np.array([False, locked, False]),
        revisions=np.ones(3, dtype=np.int32),
        tidying=tidying,
    )


@pytest.mark.parametrize("fill", [0, 1000])
@pytest.mark.parametrize("non_overlap", [False, True])
def test_one_at_a_time_equals_all_at_once(fill: int, non_overlap: bool) -> None:
    result = _result(MaskTidying(fill_hole_area=fill, non_overlap=non_overlap))
    filled = fill_logit_holes(result.low_res, int(fill * (16 / 256) ** 2))
    plain = resize(torch.from_numpy(filled)[:, None], (HEIGHT, WIDTH))[:, 0].numpy()
    if non_overlap:
        owner = np.arange(3)[:, None, None] == plain.argmax(axis=0)
        plain = np.where(owner, plain, np.minimum(plain, np.float32(-10)))
    np.testing.assert_allclose(result.logits, plain, atol=2e-5)
    np.testing.assert_array_equal(result.masks, result.logits > 0)
    assert result.rles() == tuple(encode(mask) for mask in result.masks)


@pytest.mark.parametrize("locked", [False, True])
def test_a_given_mask_comes_out_pixel_by_pixel(locked: bool) -> None:
    mask = np.random.default_rng(1).random((HEIGHT, WIDTH)) > 0.5
    tidying = MaskTidying(fill_hole_area=10_000, max_speck_area=10_000)
    result = _result(tidying, given=encode(mask), locked=locked)
    np.testing.assert_array_equal(result.masks[1], mask)
    np.testing.assert_array_equal(result.logits[1], np.where(mask, 10, -10))
    assert result.rles()[1] == encode(mask)


def test_specks_of_predictions_are_dropped() -> None:
    plain, tidy = _result(MaskTidying()), _result(MaskTidying(max_speck_area=100_000))
    assert plain.masks.any() and not tidy.masks.any()


def test_a_locked_mask_owns_its_pixels() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:20] = True
    result = _result(MaskTidying(non_overlap=True), given=encode(mask), locked=True)
    np.testing.assert_array_equal(result.masks[1], mask)
    assert not (result.masks[[0, 2]] & mask).any() and (result.masks.sum(axis=0) <= 1).all()


def test_a_result_may_be_empty() -> None:
    empty = np.zeros(0, dtype=np.float32)
    no_masks = np.zeros((0, 16, 16), dtype=np.float32)
    result = FrameResult(
        0, (), no_masks, 4, 6, (), empty, empty, empty, empty.astype(bool), empty.astype(np.int32)
    )
    assert result.masks.shape == result.logits.shape == (0, 4, 6) and result.rles() == ()
