"""Strips of frames with the answers outlined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from engine.judging.strips import OUTLINES, STRIP_PX, STRIPS, write_strips
from engine.judging.suites import drawn_clips
from model.network.builder import build_sam2
from model.training.textures import Photographs


def test_a_strip_shows_the_frames_with_truth_and_answer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_sam2("nano", image_size=64)
    videos = drawn_clips(Photographs((), ()), {"cells": 1, "plain": 1}, frames=3, size=64)
    [first, _] = write_strips(model, videos, tmp_path / "strips")
    assert first.name == "drawn-00-cells-mask.png"
    with PIL.Image.open(first) as picture:
        assert picture.size == (3 * STRIP_PX, STRIP_PX)
        prompted, *later = np.split(np.asarray(picture), 3, axis=1)
    assert (prompted == OUTLINES[0]).all(axis=2).any(), "the mask that was given lies on the truth"
    assert all((frame == 255).all(axis=2).any() for frame in later), "the truth is outlined in white"


def test_of_many_videos_some_are_drawn(tmp_path: Path) -> None:
    model = build_sam2("nano", image_size=64)
    videos = drawn_clips(Photographs((), ()), {"plain": 1}, frames=3, size=64) * (STRIPS + 3)
    named = [replace(video, video_id=f"v{number:02d}") for number, video in enumerate(videos)]
    paths = write_strips(model, named, tmp_path, protocol="1-click")
    assert len(paths) == STRIPS
    assert (paths[0].name, paths[-1].name) == ("v00-1-click.png", "v14-1-click.png")
