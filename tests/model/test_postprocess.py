"""Holes and specks on masks one can check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from model.postprocess import drop_specks, fill_holes, fill_logit_holes, tidy_logits


def _mask(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


RING = _mask("####.", "#..#.", "####.", ".....", "....#")


@pytest.mark.parametrize(("area", "filled"), [(0, 0), (1, 0), (2, 2), (30, 14)])
def test_small_holes_are_filled(area: int, filled: int) -> None:
    result = fill_holes(RING, area)
    assert result.sum() - RING.sum() == filled
    assert (result | RING == result).all()


def test_specks_go_and_the_largest_region_stays() -> None:
    without = drop_specks(RING, 2)
    assert not without[4, 4] and without.sum() == RING.sum() - 1
    assert np.array_equal(drop_specks(RING, 1000), without)
    assert np.array_equal(drop_specks(RING, 1), RING)


def test_corners_join() -> None:
    diagonal = _mask("#..", ".#.", "..#")
    assert np.array_equal(drop_specks(diagonal, 3), diagonal)


def test_an_empty_mask_stays_empty() -> None:
    assert not drop_specks(np.zeros((3, 3), dtype=bool), 5).any()


def test_holes_of_logits_are_raised_just_above_zero() -> None:
    logits = np.where(RING, 5.0, -5.0).astype(np.float32)[None]
    filled = fill_logit_holes(logits, 2)
    assert np.array_equal(filled[0] > 0, fill_holes(RING, 2))
    assert filled[0, 1, 1] == np.float32(0.1)
    assert logits[0, 1, 1] == -5.0


def test_logits_are_tidied_both_ways_as_given() -> None:
    logits = np.where(RING, 3.0, -3.0).astype(np.float32)[None].repeat(2, axis=0)
    logits[1] = 3.0
    tidy = tidy_logits(logits, max_hole_area=2, max_speck_area=1)
    assert tidy[0, 1, 1:3].tolist() == [10.0, 10.0]
    assert tidy[0, 4, 4] == -10.0
    changed = tidy != logits
    assert changed.sum() == 3 and not changed[1].any()
    assert logits[0, 4, 4] == 3.0
    level = tidy_logits(logits, max_hole_area=2, max_speck_area=1, level=0.5)
    assert (level[0, 1, 1], level[0, 4, 4]) == (0.5, -0.5)


def test_nothing_small_means_nothing_is_copied() -> None:
    logits = np.where(RING, 3.0, -3.0).astype(np.float32)[None]
    assert tidy_logits(logits) is logits
    assert tidy_logits(logits, max_hole_area=1) is logits
    assert fill_logit_holes(logits, 1) is logits
    assert fill_holes(RING, 1) is RING
    assert drop_specks(RING[:, :4], 2).base is RING


def _official_tidy(logits: np.ndarray, hole_area: float, speck_area: float) -> np.ndarray:
    """The published image predictor's steps, region by region with scipy."""
    out = logits.copy()
    for mask, area, value in ((logits <= 0, hole_area, 10.0), (logits > 0, speck_area, -10.0)):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for region in range(1, count + 1):
            if (labels == region).sum() <= area:
                out[labels == region] = value
    return out


@pytest.mark.parametrize(("hole_area", "speck_area"), [(0, 3), (3, 0), (2, 5), (10_000, 10_000)])
def test_tidy_logits_equal_the_plain_form(hole_area: int, speck_area: int) -> None:
    logits = np.random.default_rng(4).standard_normal((3, 13, 17)).astype(np.float32)
    tidy = tidy_logits(logits, max_hole_area=hole_area, max_speck_area=speck_area)
    plain = np.stack([_official_tidy(one, hole_area, speck_area) for one in logits])
    assert np.array_equal(tidy, plain)
