"""Units that stay visible and patches to be guessed, on maps one can check by eye."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.training.mae.masking import draw_visible, hidden, kept_units, normalised_patches, spread_units


@pytest.mark.parametrize(
    ("units", "ratio", "kept"),
    [(49, 0.6, 19), (100, 0.9, 10), (9, 0.6, 3), (4, 0.9, 1), (16, 0.75, 4), (4, 0.1, 3)],
)
def test_so_many_units_stay_visible(units: int, ratio: float, kept: int) -> None:
    assert kept_units(units, ratio) == kept
    visible = draw_visible(units, ratio, np.random.default_rng(0))
    assert visible.tolist() == sorted(set(visible.tolist()))
    assert len(visible) == kept and int(visible.min()) >= 0 and int(visible.max()) < units


def test_every_unit_is_as_likely_as_any_other() -> None:
    counts = np.zeros(9)
    rng = np.random.default_rng(1)
    for _ in range(3000):
        counts[draw_visible(9, 0.6, rng).numpy()] += 1
    assert counts == pytest.approx(np.full(9, 1000), abs=4 * np.sqrt(3000 * 2 / 9))


def test_hidden_units_on_the_map() -> None:
    masked = hidden(torch.tensor([[0, 3]]), 4)
    assert masked.tolist() == [[False, True, True, False]]
    assert spread_units(masked, 2, 2).int().tolist() == [
        [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    ]


def test_patches_are_normalised_each_by_itself() -> None:
    pixels = torch.zeros(1, 3, 32, 16)
    pixels[0, :, :16] = torch.arange(256.0).reshape(16, 16)
    patches = normalised_patches(pixels)
    assert patches.shape == (1, 2, 1, 768)
    values = np.repeat(np.arange(256.0), 3)  # row, column, channel
    expected = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
    assert patches[0, 0, 0].numpy() == pytest.approx(expected, abs=1e-4)
    assert patches[0, 1, 0].abs().max() == 0
