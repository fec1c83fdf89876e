"""Prompts are checked where they are made."""

from __future__ import annotations

import math

import pytest

from model.errors import PromptError
from model.prompts import Box, Click


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_coordinates_are_finite(value: float) -> None:
    with pytest.raises(PromptError, match="not finite"):
        Click(value, 1)
    with pytest.raises(PromptError, match="not finite"):
        Box(0, 0, 1, value)


def test_box_corners_are_ordered() -> None:
    with pytest.raises(PromptError, match="wrong order"):
        Box(5, 0, 1, 1)


@pytest.mark.parametrize(
    ("x", "y", "inside"), [(0, 0, True), (56, 40, True), (57, 1, False), (1, -0.5, False)]
)
def test_clicks_lie_on_the_frame(x: float, y: float, inside: bool) -> None:
    click = Click(x, y)
    if inside:
        click.check_inside(height=40, width=56)
    else:
        with pytest.raises(PromptError, match="outside the frame of 56x40"):
            click.check_inside(height=40, width=56)


def test_boxes_lie_on_the_frame() -> None:
    Box(0, 0, 56, 40).check_inside(height=40, width=56)
    with pytest.raises(PromptError, match="leaves the frame"):
        Box(0, 0, 57, 40).check_inside(height=40, width=56)
