from __future__ import annotations

import numpy as np
import pytest

from annotation.simulated.brush import mask_iou, outline_px, painted
from tests.annotation.discs import disc


def paint(truth, seed=0, jitter_px=1.0, error_share=0.05):
    return painted(truth, np.random.default_rng(seed), jitter_px=jitter_px, error_share=error_share)


@pytest.mark.parametrize("radius", [2, 4, 8, 16, 25])
@pytest.mark.parametrize("seed", range(5))
def test_a_painted_mask_is_good(radius, seed):
    truth = disc(32, 31, radius)
    assert mask_iou(paint(truth, seed), truth) >= 0.88


def test_nobody_is_pixel_perfect():
    truth = disc(32, 31, 20)
    hands = [paint(truth, seed) for seed in range(10)]
    assert not any(np.array_equal(hand, truth) for hand in hands)
    assert not np.array_equal(hands[0], hands[1])


def test_the_outline_wanders_but_does_not_fray():
    truth = disc(32, 31, 20)
    wrong = paint(truth, jitter_px=1.5) ^ truth
    near = disc(32, 31, 24) & ~disc(32, 31, 16)
    assert not (wrong & ~near).any()


def test_the_same_hand_paints_the_same():
    truth = disc(20, 20, 9)
    assert np.array_equal(paint(truth, 3), paint(truth, 3))


@pytest.mark.parametrize("truth", [np.zeros((9, 7), bool), np.ones((9, 7), bool)])
def test_nothing_and_everything_stay(truth):
    assert np.array_equal(paint(truth), truth)


def test_one_pixel_does_not_vanish():
    truth = np.zeros((9, 9), bool)
    truth[4, 4] = True
    assert all(paint(truth, seed).any() for seed in range(20))


@pytest.mark.parametrize(
    ("region", "pixels"),
    [
        (np.zeros((4, 4), bool), 0),
        (np.ones((4, 4), bool), 12),
        (np.pad(np.ones((3, 3), bool), 2), 8),
        (np.pad(np.ones((1, 1), bool), 2), 1),
    ],
)
def test_outline(region, pixels):
    assert outline_px(region) == pixels


def test_iou_of_nothing_with_nothing_is_one():
    nothing, something = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    assert mask_iou(nothing, nothing) == 1.0
    assert mask_iou(nothing, something) == 0.0
    assert mask_iou(something, np.ones((2, 2), bool)) == 0.5
