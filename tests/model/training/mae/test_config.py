"""Numbers of pre-training that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from model.errors import TrainingError
from model.training.mae.config import MaeConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio must be above 0"),
        ({"smallest_crop": 1.2}, "smallest_crop must be above 0 and at most 1"),
        ({"decoder_depth": 0}, "decoder_depth must be at least 1"),
        ({"decoder_width": 50}, "decoder_width 50 must be a multiple of decoder_heads 16"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        MaeConfig(**change)
