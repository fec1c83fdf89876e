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


def chi_square(counts: np.ndarray) -> float:
    """Distance of counts from equal ones, in standard deviations of the chi-square distribution."""
    expected = counts.sum() / counts.size
    value = float(((counts - expected) ** 2 / expected).sum())
    return (value - (counts.size - 1)) / float(np.sqrt(2 * (counts.size - 1)))


def test_error_clicks_are_uniform_over_missed_and_false_pixels_together() -> None:
    truth = rectangle((12, 12), slice(2, 7), slice(1, 6))
    prediction = rectangle((12, 12), slice(4, 9), slice(3, 11))
    rng = np.random.default_rng(5)
    counts = np.zeros(truth.shape)
    for _ in range(8000):
        click = error_click(truth, prediction, rng)
        counts[int(click.y), int(click.x)] += 1
        assert click.positive == truth[int(click.y), int(click.x)]
    assert not counts[truth == prediction].any()
    assert abs(chi_square(counts[truth != prediction])) < 3


@pytest.mark.parametrize("prediction", [None, "truth"])
def test_first_clicks_and_clicks_on_perfect_answers_are_uniform(prediction: str | None) -> None:
    truth = rectangle((9, 9), slice(2, 7), slice(1, 6))
    region = truth if prediction is None else ~truth
    rng = np.random.default_rng(6)
    counts = np.zeros(truth.shape)
    for _ in range(6000):
        click = error_click(truth, None if prediction is None else truth, rng)
        counts[int(click.y), int(click.x)] += 1
        assert click.positive == (prediction is None)
    assert not counts[~region].any()
    assert abs(chi_square(counts[region])) < 3


def test_box_noise_is_uniform_within_a_tenth_of_the_side_and_twenty_pixels() -> None:
    truth = rectangle((400, 500), slice(100, 161), slice(100, 401))  # 300 wide: 20 px; 60 high: 6 px
    rng = np.random.default_rng(7)
    boxes = [noisy_box(truth, rng) for _ in range(3000)]
    moved = np.array([(b.x0 - 100, b.x1 - 400, b.y0 - 100, b.y1 - 160) for b in boxes])
    for column, limit in zip(moved.T, (20.0, 20.0, 6.0, 6.0), strict=True):
        drawn = np.sort((column / limit + 1) / 2)
        steps = np.arange(1, drawn.size + 1) / drawn.size
        kolmogorov = np.abs(drawn - steps).max() * np.sqrt(drawn.size)
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert kolmogorov < 1.6  # exceeded once in a hundred draws of a uniform distribution


def test_objects_of_different_generators_do_not_disturb_each_other() -> None:
    truth = np.stack([TRUTH, PREDICTION])
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    both, _ = error_clicks(truth, None, generators)
    alone, _ = error_clicks(truth[1:], None, [np.random.default_rng(2)])
    assert both[1].tolist() == alone[0].tolist()


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
