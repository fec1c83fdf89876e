"""Baselines: what needs no network, and one click on a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.network.builder import build_sam2
from model.video.frame_source import ArrayFrames
from qa.baselines import NEAREST_COLOUR, evaluate_nearest_colour, image_miou
from qa.evaluation import EvaluationVideo, evaluate_copy
from storage.masks import encode


def _moving(colour: tuple[int, int, int], ground: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A square that moves six pixels a frame on a flat ground: frames uint8 [5,64,64,3], masks bool [5,64,64]."""
    frames = np.full((5, 64, 64, 3), ground, np.uint8)
    masks = np.zeros((5, 64, 64), bool)
    for time in range(5):
        masks[time, 20:34, 6 * time + 4 : 6 * time + 18] = True
    frames[masks] = colour
    return frames, masks


def _video(frames: NDArray[np.uint8], masks: NDArray[np.bool_]) -> EvaluationVideo:
    truth = {1: {time: encode(mask) for time, mask in enumerate(masks)}}
    return EvaluationVideo("square", ArrayFrames(frames), range(len(frames)), truth)


def test_a_colour_of_its_own_is_found_again() -> None:
    video = _video(*_moving((200, 30, 30)))
    [row, mean] = evaluate_nearest_colour([video])
    assert (row.protocol, row.object_id) == (NEAREST_COLOUR, 1)
    assert mean.jf == pytest.approx(100.0)
    assert evaluate_copy([video])[-1].jf < 50


def test_the_ground_s_colour_is_not_found() -> None:
    frames, masks = _moving((40, 40, 40))
    assert evaluate_nearest_colour([_video(frames, masks)])[-1].jf < 20


def test_a_twin_further_away_is_left_alone() -> None:
    frames, masks = _moving((200, 30, 30))
    frames[:, 50:60, 2:62] = (200, 30, 30)
    assert evaluate_nearest_colour([_video(frames, masks)])[-1].j > 99


def test_image_miou_counts_every_object_on_every_nth_frame() -> None:
    torch.manual_seed(0)
    model = build_sam2("nano", image_size=64)
    video = _video(*_moving((200, 30, 30)))
    score = image_miou(model, [video], every=2)
    assert score.objects == 3
    assert 0.0 <= score.chosen <= score.oracle <= 1.0
    assert np.isnan(image_miou(model, []).chosen)
