"""Simulated clicks and boxes: golden values, and masks small enough to check by eye."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from model.clicks import centre_click, centre_clicks, error_click, error_clicks, noisy_box, noisy_boxes
from model.errors import PromptError
from model.prompts import Click


def rectangle(shape: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


TRUTH = rectangle((120, 160), slice(20, 80), slice(30, 110))
PREDICTION = rectangle((120, 160), slice(20, 80), slice(30, 70)) | rectangle(
    (120, 160), slice(90, 110), slice(10, 60)
)


def golden(key: str) -> Click:
    entry = json.loads(files("model").joinpath("data/sam2-golden.json").read_text())[key]
    return Click(*entry["point_xy"], positive=entry["label"] == 1)


def test_centre_click_lies_in_the_largest_error() -> None:
    assert centre_click(TRUTH, PREDICTION) == golden("extra.centre_click")


def test_first_centre_click_lies_in_the_middle_of_the_object() -> None:
    assert centre_click(TRUTH) == golden("extra.centre_click_first")


def test_centre_click_is_negative_where_too_much_was_predicted() -> None:
    truth = rectangle((9, 9), slice(0, 3), slice(0, 3))
    prediction = truth | rectangle((9, 9), slice(4, 9), slice(4, 9))
    assert centre_click(truth, prediction) == Click(6, 6, positive=False)


def test_centre_click_of_a_perfect_prediction_is_the_first_corner_negative() -> None:
    assert centre_click(TRUTH, TRUTH) == Click(0, 0, positive=False)


def test_error_click_is_positive_in_missed_and_negative_in_false_pixels() -> None:
    rng = np.random.default_rng(0)
    clicks = [error_click(TRUTH, PREDICTION, rng) for _ in range(200)]
    for click in clicks:
        row, column = int(click.y), int(click.x)
        assert TRUTH[row, column] != PREDICTION[row, column]
        assert click.positive == TRUTH[row, column]
    # 2400 missed and 1000 false pixels
    assert 0.6 < np.mean([click.positive for click in clicks]) < 0.8


def test_error_click_of_a_perfect_prediction_is_negative_in_the_background() -> None:
    click = error_click(TRUTH, TRUTH, np.random.default_rng(0))
    assert not click.positive
    assert not TRUTH[int(click.y), int(click.x)]


def test_error_click_on_an_image_without_background_is_negative() -> None:
    full = np.ones((4, 4), dtype=bool)
    assert error_click(full, full, np.random.default_rng(0)) == Click(0, 0, positive=False)


def test_noisy_box_stays_near_the_object_and_inside_the_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = noisy_box(TRUTH, rng)
        assert np.abs(np.array([box.x0 - 30, box.x1 - 109])).max() <= 7.9
        assert np.abs(np.array([box.y0 - 20, box.y1 - 79])).max() <= 5.9
    edge = noisy_box(np.ones((4, 6), dtype=bool), rng)
    assert 0 <= edge.x0 <= edge.x1 <= 5
    assert 0 <= edge.y0 <= edge.y1 <= 3


def test_noisy_box_without_noise_is_tight() -> None:
    box = noisy_box(TRUTH, np.random.default_rng(0), noise=0.0)
    assert (box.x0, box.y0, box.x1, box.y1) == (30, 20, 109, 79)


def test_noisy_box_refuses_an_empty_mask() -> None:
    with pytest.raises(PromptError, match="empty"):
        noisy_box(np.zeros((4, 4), dtype=bool), np.random.default_rng(0))


def test_sizes_must_agree() -> None:
    with pytest.raises(PromptError, match="differ in size"):
        centre_click(TRUTH, TRUTH[:50])


def test_batched_forms_give_arrays_for_the_prompt_encoder() -> None:
    truth = np.stack([TRUTH, np.zeros_like(TRUTH)])
    coordinates, labels = centre_clicks(truth)
    assert coordinates.shape == (2, 1, 2)
    assert coordinates[0, 0].tolist() == [59, 49]
    assert labels.tolist() == [[1], [0]]
    coordinates, labels = error_clicks(truth, None, np.random.default_rng(0))
    assert coordinates.dtype == np.float32
    assert labels.tolist() == [[1], [0]]
    coordinates, labels = noisy_boxes(truth, np.random.default_rng(0))
    assert coordinates.shape == (2, 2, 2)
    assert labels.tolist() == [[2, 3], [0, -1]]


def test_ties_break_alike_wherever_the_mask_lies_in_memory() -> None:
    truth = np.random.default_rng(0).random((64, 64)) > 0.02
    padding = np.random.default_rng(1)
    clicks = set()
    for _ in range(300):
        kept = np.zeros(padding.integers(1, 500))
        clicks.add(centre_click(truth.copy()))
        del kept
    assert len(clicks) == 1
