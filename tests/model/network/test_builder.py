"""Parts are as large as published (names and shapes: `test_official.py`)."""

from __future__ import annotations

import pytest
import torch

from model.network.builder import build_sam2

PARTS = {
    "memory_attention": 5_922_304,
    "memory_encoder": 1_384_608,
    "sam_prompt_encoder": 6_220,
    "sam_mask_decoder": 4_215_109,
    "obj_ptr_proj": 197_376,
    "obj_ptr_tpos_proj": 16_448,
}


@pytest.mark.parametrize(("part", "parameters"), PARTS.items())
def test_parts_have_their_published_size(part: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build_sam2("small")
    assert sum(p.numel() for p in model.get_submodule(part).parameters()) == parameters


def test_nano_stays_small() -> None:
    model = build_sam2()
    assert sum(p.numel() for p in model.parameters()) < 5_500_000
    assert not model.training
