"""Drawn clips: shapes, determinism, and masks that belong to what is seen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from model.errors import TrainingError
from model.training.synthetic import PLOTS, SyntheticClips
from model.training.synthetic.bodies import Body
from model.training.synthetic.motion import Camera, Path
from model.training.synthetic.scenes import Lens, Scene
from model.training.synthetic.shapes import Outline, box_contour, single


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
    for index in range(30):
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


@pytest.mark.parametrize("plot", sorted(PLOTS))
def test_every_plot_can_be_drawn_at_every_length(plot: str) -> None:
    source = SyntheticClips(cells=0.0, plot=plot)
    for frames in (1, 5):
        clip = source.clip(0, np.random.default_rng(3), frames=frames, objects=3, size=40)
        assert clip.images.shape == (frames, 40, 40, 3)
        assert clip.name.startswith(plot)


def test_things_hide_and_leave_and_are_seen_again() -> None:
    for plot in ("hiding", "away"):
        source, returned = SyntheticClips(cells=0.0, plot=plot), 0
        for seed in range(12):
            clip = source.clip(0, np.random.default_rng(seed), frames=10, objects=4, size=40)
            seen = clip.masks.any(axis=(2, 3))  # T N
            returned += int(((~seen[1:-1]).any(axis=0) & seen[-1]).any())
        assert returned >= 2, plot


def test_frames_that_are_further_apart_show_things_further_apart() -> None:
    def travelled(stride: int) -> float:
        far = 0.0
        for seed in range(12):
            source = SyntheticClips(cells=0.0, plot="plain", stride=stride)
            clip = source.clip(0, np.random.default_rng(seed), frames=3, objects=1, size=64)
            assert clip.images.shape[0] == clip.masks.shape[0] == 3
            centres = [np.argwhere(mask).mean(axis=0) for mask in clip.masks[:, 0] if mask.any()]
            far += sum(float(np.linalg.norm(a - b)) for a, b in pairwise(centres))
        return far

    assert travelled(6) > 1.5 * travelled(1)


def test_a_stride_of_nothing_is_refused() -> None:
    with pytest.raises(TrainingError, match="stride must be at least 1, got 0"):
        SyntheticClips(stride=0)


def test_an_unknown_plot_is_refused() -> None:
    with pytest.raises(TrainingError, match="Plot 'plane' is unknown"):
        SyntheticClips(plot="plane")


def test_the_mask_is_where_the_thing_is_at_the_middle_of_the_exposure() -> None:
    """A white square on black, moving eight pixels a frame while the shutter is open."""
    body = Body(
        parts=single(Outline.around(np.random.default_rng(0), box_contour(1.0, 1.0), 0.0)),
        path=Path(np.array([20.0, 32.0]), np.array([8.0, 0.0]), np.zeros(2), 0.0, 0.0, 0.0, 0.0, 0.0),
        radius=8.0,
        aspect=1.0,
        texture=np.full((16, 16, 3), 255, np.uint8),
    )
    ground = np.zeros((96, 96, 3), np.uint8)
    camera = Camera(64, np.zeros(2, np.float32), zoom=0.0, roll=0.0)
    scene = Scene(64, [ground], [body], camera, Lens(shutter=1.0, moments=5))
    film = scene.render(2, np.random.default_rng(0))
    for time in range(2):
        columns = np.flatnonzero(film.masks(film.shown(0, 1))[time, 0].any(axis=0))
        assert (columns[0] + columns[-1]) / 2 == pytest.approx(20 + 8 * time, abs=0.6)
        bright = film.images[time, 32, :, 0].astype(float)
        assert (bright * np.arange(64)).sum() / bright.sum() == pytest.approx(20 + 8 * time, abs=0.3)
        assert np.count_nonzero(bright) > 17 + 5  # smeared
