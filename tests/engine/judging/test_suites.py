"""Held-out suites: the clips that were frozen, and a pair to adapt with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import samples
from engine.judging.suites import CLIPS, SUITES, SuiteError, digest, drawn_clips, suite_videos
from model.training.photographs import PACKAGES
from model.training.textures import Photographs
from storage.masks import area

NOTHING = Photographs((), ())
FROZEN_AREAS = [310, 730, 640]  # pixels of all objects of a clip


def test_the_drawn_suite_has_forty_clips_of_every_kind() -> None:
    assert sum(CLIPS.values()) == 40
    assert "drawn" in SUITES


def test_drawn_clips_repeat_themselves() -> None:
    """Sizes of the first clips' objects: another generator of clips would be another suite."""
    kinds = {"cells": 1, "plain": 1, "hiding": 1}
    first, second = (drawn_clips(NOTHING, kinds, frames=4, size=64) for _ in range(2))
    assert digest(first) == digest(second)
    assert [video.video_id for video in first] == ["drawn-00-cells", "drawn-01-plain", "drawn-02-hiding"]
    assert all(0 in masks for video in first for masks in video.truth.values())
    areas = [sum(area(rle) for masks in video.truth.values() for rle in masks.values()) for video in first]
    np.testing.assert_allclose(areas, FROZEN_AREAS, rtol=0.05)


def test_unknown_suites_and_missing_photographs_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SuiteError, match="unknown; use one of drawn, cho, development"):
        suite_videos("dawn", tmp_path)
    monkeypatch.setattr(
        "engine.judging.suites.load_photographs",
        lambda split, cache: Photographs((), (), ("tiny==1.0: no net",)),
    )
    with pytest.raises(SuiteError, match="needs all of its photographs"):
        suite_videos("drawn", tmp_path)


def test_no_photograph_is_on_both_sides() -> None:
    for package in PACKAGES:
        assert not set(package.train) & set(package.held_out)
        assert not set(package.train.values()) & set(package.held_out.values())
    assert sum(len(package.train) for package in PACKAGES) >= 50
    assert sum(len(package.held_out) for package in PACKAGES) >= 20


def test_the_colony_is_followed_where_the_microscope_jumps() -> None:
    images = np.full((4, 400, 900), 200, np.uint16)
    labels = np.zeros((4, 400, 900), np.uint16)
    for time, left in enumerate((200, 450, 300, 600)):
        labels[time, 100:120, left : left + 40] = 7 + time
        images[time, 100:120, left : left + 40] = 30
    sample = samples._colony(images, labels)
    assert sample.frames.shape == (4, 320, 320, 3)
    assert list(sample.reference) == [1]
    assert sorted(sample.reference[1]) == [0, 1, 2, 3]
    assert sample.frames.min() == 0
