"""Every mask of an image by SAM 1, through the same generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.image.auto_masks import AutoMaskConfig, generate_masks
from model.image.image_predictor import ImagePredictor
from model.postprocess import drop_specks
from model.sam1.sam1 import Sam1

LENIENT = AutoMaskConfig(
    points_per_side=3,
    pred_iou_thresh=0.0,
    stability_score_thresh=0.0,
    stability_score_offset=0.1,
    box_nms_thresh=0.99,
    crop_n_layers=1,
)


def test_masks_have_the_size_of_the_image(network: Sam1, picture: NDArray[np.uint8]) -> None:
    found = generate_masks(network, picture, LENIENT)
    assert found
    for mask in found:
        assert mask.mask.shape == picture.shape[:2]
        assert mask.area == mask.mask.sum()


def test_its_own_defaults_are_taken(network: Sam1, picture: NDArray[np.uint8]) -> None:
    own = generate_masks(ImagePredictor(network), picture)
    assert own == generate_masks(network, picture, AutoMaskConfig.sam1())


def test_small_regions_go_at_full_size(network: Sam1, picture: NDArray[np.uint8]) -> None:
    found = generate_masks(network, picture, replace(LENIENT, min_mask_region_area=30))
    assert found
    for mask in found:
        np.testing.assert_array_equal(drop_specks(mask.mask, 30), mask.mask)
