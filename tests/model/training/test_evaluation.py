"""Scores of held-out clips."""

from __future__ import annotations

import pytest

from model.errors import TrainingError
from model.network.sam2 import Sam2
from model.training.evaluation import evaluate_clips

from .conftest import SquareClips


def test_copying_the_first_mask_of_a_moving_square_overlaps_as_computed(
    micro: Sam2, squares: SquareClips
) -> None:
    score = evaluate_clips(micro, squares, clips=2, protocol="copy", frames=3)
    # 16 pixels wide, moved by 2 and by 4: 14/18 and 12/20
    assert score.first == 100
    assert score.later == pytest.approx(100 * (14 / 18 + 12 / 20) / 2, abs=0.01)
    assert score.objects == 2


@pytest.mark.parametrize("protocol", ["mask", "box", "1-click", "3-click"])
def test_every_protocol_scores_first_and_later_frames(
    micro: Sam2, squares: SquareClips, protocol: str
) -> None:
    score = evaluate_clips(micro, squares, clips=1, protocol=protocol, frames=3)
    assert 0 <= score.first <= 100
    assert 0 <= score.later <= 100
    if protocol == "mask":
        assert score.first == 100


def test_unknown_protocols_are_refused(micro: Sam2, squares: SquareClips) -> None:
    with pytest.raises(TrainingError, match="copy, mask, box"):
        evaluate_clips(micro, squares, protocol="2-click")
