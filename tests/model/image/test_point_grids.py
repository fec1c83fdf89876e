"""Where points and crops are, by eye and against the published generator's arithmetic."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from model.image.auto_config import AutoMaskletConfig
from model.image.point_grids import crops, even_grid

PAPER = [even_grid(count) for count in AutoMaskletConfig.paper().points_per_side]
OVERLAP = 512 / 1500


def test_a_grid_is_half_a_step_from_the_borders() -> None:
    assert even_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert even_grid(1).tolist() == [[0.5, 0.5]]
    assert even_grid(0).shape == (0, 2)


def test_a_level_without_points_has_no_crops() -> None:
    assert [crop.level for crop in crops(10, 10, [even_grid(0), even_grid(1)], overlap=0.2)] == [1] * 4


@pytest.mark.parametrize(("height", "width"), [(40, 56), (1080, 1920), (481, 333)])
def test_crops_cover_the_image_and_overlap(height: int, width: int) -> None:
    for level in (0, 1, 2):
        count = np.zeros((height, width), dtype=int)
        for crop in crops(height, width, PAPER, overlap=OVERLAP):
            if crop.level == level:
                count[crop.y0 : crop.y1, crop.x0 : crop.x1] += 1
                assert (crop.points >= 0).all()
                assert (crop.points < [crop.width, crop.height]).all()
        assert count.min() == 1
        assert (count.max() > 1) == (level > 0)


def _published_boxes(height: int, width: int, layers: int, ratio: float) -> list[tuple[int, int, int, int]]:
    """The published crops, XYXY, in their order."""
    boxes = [(0, 0, width, height)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(ratio * min(height, width) * (2 / count))
        side_x = math.ceil((shared * (count - 1) + width) / count)
        side_y = math.ceil((shared * (count - 1) + height) / count)
        for i, j in product(range(count), range(count)):
            x0, y0 = i * (side_x - shared), j * (side_y - shared)
            boxes.append((x0, y0, min(x0 + side_x, width), min(y0 + side_y, height)))
    return boxes


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (481, 333), (97, 101)])
@pytest.mark.parametrize("ratio", [OVERLAP, 0.0, 0.5])
def test_crops_are_the_published_ones_in_their_order(height: int, width: int, ratio: float) -> None:
    made = crops(height, width, [even_grid(1)] * 4, overlap=ratio)
    assert [(c.x0, c.y0, c.x1, c.y1) for c in made] == _published_boxes(height, width, 3, ratio)


def test_only_inner_borders_cut() -> None:
    grids = [even_grid(1), even_grid(1)]
    top_left = next(crop for crop in crops(100, 100, grids, overlap=OVERLAP) if crop.level == 1)
    assert (top_left.x0, top_left.y0) == (0, 0)
    side = top_left.x1
    boxes = np.array([[0, 0, 10, 10], [0, 0, side, 10], [20, 20, 30, side - 2], [20, 20, 30, side - 3]])
    cut = top_left.cuts(boxes, height=100, width=100, margins=(2.0, 2.0))
    assert cut.tolist() == [False, True, True, False]


def test_a_border_near_the_images_own_does_not_cut() -> None:
    top_left = next(crop for crop in crops(30, 30, [even_grid(0), even_grid(1)], overlap=0.5))
    assert top_left.x1 == 23
    boxes = np.array([[0, 0, 20, 20], [0, 0, 15, 12]])
    assert not top_left.cuts(boxes, height=30, width=30, margins=(20.0, 20.0)).any()
    assert top_left.cuts(boxes, height=300, width=30, margins=(20.0, 20.0)).all()
