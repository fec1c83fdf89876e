from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa.contours import Bits

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 200))


def noise(shape: tuple[int, int], share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def disk(radius: int) -> np.ndarray:
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)


class TestBits:
    @given(SIZES, st.sampled_from([0.02, 0.5, 0.98]), st.integers(0, 9), st.integers(0, 70))
    @settings(deadline=None, max_examples=60)
    def test_hold_a_mask(self, shape, share, seed, margin):
        mask = noise(shape, share, seed)
        bits = Bits.of(mask, margin=margin)
        np.testing.assert_array_equal(bits.to_array(), mask)
        assert bits.count() == mask.sum()

    @given(SIZES, st.sampled_from([0.02, 0.5, 0.98]), st.integers(0, 9))
    @settings(deadline=None, max_examples=60)
    def test_boundary_is_the_plain_one(self, shape, share, seed):
        mask = noise(shape, share, seed)
        np.testing.assert_array_equal(Bits.of(mask).boundary().to_array(), plain_boundary(mask))

    @given(SIZES, st.sampled_from([0.002, 0.05]), st.integers(0, 9), st.integers(1, 90))
    @settings(deadline=None, max_examples=60)
    def test_grow_by_a_disk(self, shape, share, seed, radius):
        mask = noise(shape, share, seed)
        grown = Bits.of(mask, margin=radius).grown(radius)
        expected = cv2.dilate(mask.view(np.uint8), disk(radius)) > 0
        np.testing.assert_array_equal(grown.to_array(), expected)

    @pytest.mark.parametrize("columns", [55, 56, 57, 63, 64, 65, 119, 120, 121, 128])
    def test_what_leaves_a_row_does_not_enter_the_next(self, columns):
        mask = np.zeros((3, columns), bool)
        mask[:, [0, -1]] = True
        grown = Bits.of(mask, margin=8).grown(8).to_array()
        np.testing.assert_array_equal(grown, cv2.dilate(mask.view(np.uint8), disk(8)) > 0)

    def test_of_a_transposed_view(self):
        mask = noise((20, 90), 0.3, 0)
        np.testing.assert_array_equal(Bits.of(mask.T).to_array(), mask.T)
