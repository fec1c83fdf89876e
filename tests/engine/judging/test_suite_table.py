"""The table of a suite: scores beside baselines, and strips of frames."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
import torch

from engine.judging.suite_table import STRIP_PX, measure, write_strips
from engine.judging.suites import drawn_clips
from model.network.builder import build_sam2
from model.training.textures import Photographs


@pytest.fixture(scope="module")
def model() -> object:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_sam2("nano", image_size=64)


def test_the_table_has_baselines_beside_the_model(model, tmp_path: Path) -> None:
    videos = drawn_clips(Photographs((), ()), {"cells": 1, "plain": 1}, frames=3, size=64)
    told: list[str] = []
    table = measure(model, "drawn", videos, checkpoint="abc", protocols=["mask"], tell=told.append)
    assert [score.measure for score in table.scores] == ["copy-first-mask", "nearest-colour", "mask"]
    assert set(table.scores[0].by_kind) == {"cells", "plain"}
    assert table.frozen is False
    assert told == ["one click on single pictures", "mask"]
    text = table.markdown()
    assert "Not the frozen suite" in text
    assert text.count("\n| ") == 5

    [first, _] = write_strips(model, videos, tmp_path / "strips")
    assert first.name == "drawn-00-cells-mask.png"
    with PIL.Image.open(first) as picture:
        assert picture.size == (3 * STRIP_PX, STRIP_PX)
