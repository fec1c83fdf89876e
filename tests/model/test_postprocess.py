"""Holes and specks on masks one can check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from model.postprocess import drop_specks, fill_holes, fill_logit_holes, tidy_logits, without_overlap


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


def test_overlap_goes_to_the_highest_logit() -> None:
    logits = np.array([[[3.0, -1.0]], [[5.0, -2.0]]], dtype=np.float32)
    assert without_overlap(logits).tolist() == [[[-10.0, -1.0]], [[5.0, -10.0]]]


def test_tidying_logits_writes_certain_values_on_both_sides() -> None:
    logits = np.where(RING, 2.0, -2.0).astype(np.float32)[None]
    tidy = tidy_logits(logits, max_hole_area=2, max_speck_area=1)
    assert (tidy[0, 1, 1:3] == 10).all() and tidy[0, 4, 4] == -10
    assert (np.delete(tidy.ravel(), [6, 7, 24]) == np.delete(logits.ravel(), [6, 7, 24])).all()
    assert tidy_logits(logits, max_hole_area=0, max_speck_area=0) is logits
