"""Outlines, captions and markers: seen on any ground, and never over what they show."""

from __future__ import annotations

import numpy as np
import pytest

from annotation.pages.drawing import DARK, LIGHT, draw_marker, enlargement, outlined, with_caption
from model.prompts import Box
from tests.annotation.pages.pages import disc


def ground(value: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_outline_is_light_and_dark_on_any_ground(value):
    picture, mask = ground(value), disc(60, 80)
    shown = outlined(picture, mask)
    changed = (shown != picture).any(axis=2)
    colours = {tuple(colour) for colour in shown[changed].tolist()}
    assert colours == {LIGHT, DARK}
    assert not (changed & mask).any()  # the mask's own pixels stay visible
    assert (picture == value).all()


def test_a_mask_of_one_pixel_is_seen():
    mask = np.zeros((60, 80), bool)
    mask[30, 40] = True
    assert (outlined(ground(128), mask) != 128).any(axis=2).sum() >= 8


def test_nothing_is_drawn_around_nothing():
    assert (outlined(ground(7), np.zeros((60, 80), bool)) == 7).all()


def test_a_caption_lies_below_the_picture():
    plain, tagged = with_caption(ground(9), "3 / 24"), with_caption(ground(9), "3 / 24", tag="absent")
    assert plain.shape == tagged.shape == (86, 80, 3)
    assert (tagged[:60] == 9).all() and (tagged[60:] != plain[60:]).any()


@pytest.mark.parametrize(
    ("size", "times"), [((480, 854), 1), ((256, 256), 2), ((100, 100), 4), ((2000, 900), 1)]
)
def test_small_frames_are_enlarged(size, times):
    assert enlargement(*size) == times


@pytest.mark.parametrize(
    "marks",
    [
        {"point": (5.0, 5.0), "box": None, "mask": None},
        {"point": None, "box": Box(10, 10, 70, 50), "mask": None},
        {"point": None, "box": None, "mask": disc(60, 80)},
        {"point": (79.0, 59.0), "box": Box(78, 58, 80, 60), "mask": disc(60, 80)},
    ],
)
def test_a_marker_has_a_close_up_of_whatever_marks_the_object(marks):
    assert draw_marker(ground(128), **marks).shape == (180, 240 + 6 + 180, 3)


@pytest.mark.parametrize("mask", [None, np.zeros((60, 80), bool)])
def test_a_marker_of_nothing_is_the_frame(mask):
    shown = draw_marker(ground(128), point=None, box=None, mask=mask)
    assert shown.shape == (180, 240, 3) and (shown == 128).all()
