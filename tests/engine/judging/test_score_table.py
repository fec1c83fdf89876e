"""The table of scores: baselines beside the model, groups of objects, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.judging.score_table import ScoreTable, measure
from engine.judging.suites import drawn_clips
from model.network.builder import build_sam2
from model.training.textures import Photographs
from qa.evaluation import PLAIN


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def table(told: list[tuple[str, int, int]]) -> ScoreTable:
    torch.manual_seed(0)
    model = build_sam2("nano", image_size=64)
    videos = drawn_clips(Photographs((), ()), {"cells": 1, "plain": 1}, frames=3, size=64)
    names = ("mask", "copy-first-mask")
    return measure(
        model,
        videos,
        names,
        session_config=PLAIN,
        suite="drawn",
        checkpoint="abc",
        pictures=True,
        tell=lambda *progress: told.append(progress),
    )


def test_it_has_every_protocol_and_kind_of_clip(table: ScoreTable, told: list[tuple[str, int, int]]) -> None:
    assert [score.name for score in table.protocols] == ["mask", "copy-first-mask"]
    for score in table.protocols:
        kinds = [group for group in score.groups if group.group in ("cells", "plain")]
        assert sum(group.objects for group in kinds) == score.whole.objects > 0
        mean = sum(group.jf * group.objects for group in kinds) / score.whole.objects
        assert mean == pytest.approx(score.whole.jf)
    assert table.pictures is not None
    assert 0 <= table.pictures.chosen <= table.pictures.oracle <= 1
    assert told[-1] == ("single pictures", 2, 2)
    assert ("mask", 2, 2) in told


def test_clips_that_are_not_the_frozen_ones_are_told(table: ScoreTable) -> None:
    assert table.frozen is False
    assert table.markdown().startswith("**Not the frozen suite: do not compare")


def test_it_is_written_for_people_and_for_scripts(table: ScoreTable, tmp_path: Path) -> None:
    [text, facts] = table.write(tmp_path / "new")
    assert (text.name, facts.name) == ("drawn.md", "drawn.json")
    lines = text.read_text().splitlines()
    mean = table.protocols[0].whole
    interval = mean.interval_words
    assert f"| mask | {mean.j:.1f} | {mean.f:.1f} | {mean.jf:.1f} | {interval} | {mean.objects} |" in lines
    assert "| objects | mask | copy-first-mask |" in lines
    assert lines[-1].startswith("1 click on ")
    found = json.loads(facts.read_text())
    assert (found["suite"], found["checkpoint"], found["frozen"]) == ("drawn", "abc", False)
    assert found["protocols"]["mask"]["groups"]["cells"]["jf"] == pytest.approx(
        next(group.jf for group in table.protocols[0].groups if group.group == "cells"), abs=0.005
    )
