"""Enlarging, counting and boxing many masks: against torch and by eye."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from model.mask_tensors import above, areas_above, boxes_around, enlarge
from model.network.layers import resize


@pytest.mark.parametrize("size", [(40, 56), (16, 16), (7, 5), (1, 1), (33, 100)])
def test_enlarging_is_resizing(size: tuple[int, int]) -> None:
    logits = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 10
    torch.testing.assert_close(enlarge(logits, size), resize(logits[:, None], size)[:, 0], atol=1e-3, rtol=0)
    assert enlarge(logits[:0], size).shape == (0, *size)


def test_areas_above_a_threshold_keep_the_leading_axes() -> None:
    logits = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]], [[[-1.0, 0.5], [0.5, 0.5]]]])
    assert areas_above(logits, 0.5).tolist() == [[3], [0]]
    assert areas_above(logits[:0], 0.5).shape == (0, 1)
    assert above(logits, 0.5).tolist() == (logits > 0.5).tolist()


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_boxes_are_tight(masks: np.ndarray) -> None:
    for mask, box in zip(masks, boxes_around(masks), strict=True):
        rows, columns = np.nonzero(mask)
        tight = [columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else [0] * 4
        assert box.tolist() == tight


def test_no_mask_has_no_box() -> None:
    assert boxes_around(np.zeros((0, 4, 5), dtype=bool)).shape == (0, 4)
