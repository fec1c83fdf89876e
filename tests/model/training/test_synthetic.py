"""Drawn clips: shapes, determinism, and masks that belong to what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from model.training.synthetic import SyntheticClips


@pytest.mark.parametrize("cells", [0.0, 1.0])
def test_clips_have_objects_on_their_first_frame(cells: float) -> None:
    source = SyntheticClips(cells=cells)
    for index in range(6):
        clip = source.clip(index, np.random.default_rng(index), frames=3, objects=3, size=64)
        assert clip.images.shape == (3, 64, 64, 3)
        assert clip.images.dtype == np.uint8
        assert 1 <= clip.masks.shape[1] <= 3
        assert (clip.masks[0].sum(axis=(1, 2)) >= 8).all()


def test_objects_share_pixels_only_with_their_own_parts() -> None:
    overlapping = 0
    for index in range(60):
        clip = SyntheticClips(cells=0.0).clip(
            index, np.random.default_rng(index), frames=2, objects=9, size=48
        )
        for time, first in [(t, n) for t in range(2) for n in range(clip.masks.shape[1])]:
            for second in range(first):
                one, other = clip.masks[time, first], clip.masks[time, second]
                if (one & other).any():
                    overlapping += 1
                    assert not (one & ~other).any() or not (other & ~one).any()  # one lies within the other
    assert overlapping > 0


def test_equal_generators_give_equal_clips() -> None:
    first, second = (
        SyntheticClips().clip(0, np.random.default_rng(5), frames=2, objects=2, size=64) for _ in range(2)
    )
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.masks, second.masks)


def test_cells_are_grey_and_things_move() -> None:
    cells = SyntheticClips(cells=1.0).clip(0, np.random.default_rng(1), frames=1, objects=1, size=64)
    assert np.ptp(cells.images.astype(int), axis=3).max() == 0
    moved = [
        clip.masks[0, 0].sum() != (clip.masks[0, 0] & clip.masks[5, 0]).sum()
        for seed in range(8)
        for clip in [
            SyntheticClips(cells=0.0).clip(0, np.random.default_rng(seed), frames=6, objects=1, size=64)
        ]
    ]
    assert sum(moved) >= 6


def test_the_mask_is_where_the_object_is_drawn() -> None:
    """Bright cells on dark ground: the mask separates bright from dark far better than chance."""
    contrasts = []
    for seed in range(20):
        clip = SyntheticClips(cells=1.0).clip(0, np.random.default_rng(seed), frames=1, objects=1, size=96)
        image, mask = clip.images[0, :, :, 0].astype(float), clip.masks[0, 0]
        contrasts.append(abs(image[mask].mean() - np.median(image)) / (image.std() + 1))
    assert np.median(contrasts) > 1.0
