"""State-dict keys and shapes are those of the official checkpoints."""

from __future__ import annotations

import hashlib

import pytest
import torch

from model.builder import build_sam2

OFFICIAL = [
    ("2.1", "tiny", 471, 38_962_498, "5a31f53548be1d302b6676cd6f9023a0673a98c87a7da656025d0ba4dbb85693"),
    ("2.1", "small", 519, 46_060_354, "30f7030432d1687ed663f3af622cffa176ea66b099af2a801c326ce4cd821a96"),
    ("2.1", "base_plus", 615, 80_850_178, "cf1e236598a9fe861ef07265b59bda770809a8db7f5b0620a2ffe9ab38328a37"),
    ("2.1", "large", 903, 224_446_642, "b38bb6c453cb2b40ecb2a6f62046638d9cf30e9124bef55eae47a37a4eb636eb"),
    ("2.0", "tiny", 468, 38_945_986, "8f656ac26e870b4134e0bfc8eacb2b7a826fb920fef1f48f267a23843a6c563c"),
    ("2.0", "small", 516, 46_043_842, "7e5f9d3d6099de9e86d65a46b45e0ecb0bef2bd827f286ecd48c2fe0737f6172"),
    ("2.0", "base_plus", 612, 80_833_666, "0da3ee56516065b3f67621df5a1bd5f6377263c845e2d963df211affefe31d70"),
    ("2.0", "large", 900, 224_430_130, "11c4512af4a0183a874baf5d0f9973105237f96f4f6376b55bcb53f17ec3bb91"),
]
PARTS = {
    "memory_attention": 5_922_304,
    "memory_encoder": 1_384_608,
    "sam_prompt_encoder": 6_220,
    "sam_mask_decoder": 4_215_109,
    "obj_ptr_proj": 197_376,
    "obj_ptr_tpos_proj": 16_448,
}


@pytest.mark.parametrize(("version", "size", "keys", "parameters", "digest"), OFFICIAL)
def test_keys_and_shapes_are_official(
    version: str, size: str, keys: int, parameters: int, digest: str
) -> None:
    with torch.device("meta"):
        model = build_sam2(size, version=version)
    state = model.state_dict()
    lines = (f"{key} {'x'.join(map(str, state[key].shape))}" for key in sorted(state))
    assert len(state) == keys
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize(("part", "parameters"), PARTS.items())
def test_parts_have_their_published_size(part: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build_sam2("small")
    assert sum(p.numel() for p in model.get_submodule(part).parameters()) == parameters


def test_nano_stays_small() -> None:
    model = build_sam2()
    assert sum(p.numel() for p in model.parameters()) < 5_500_000
    assert not model.training
