"""SAM 1 files: bare state dicts as published, our own, and wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from model.errors import CheckpointError
from model.files.checkpoints import save_checkpoint
from model.network.sam2 import Sam2
from model.sam1 import checkpoints
from model.sam1.checkpoints import is_sam1, load_sam1, read_sam1_info, save_sam1
from model.sam1.sam1 import Sam1
from tests.model.sam1.conftest import TINY


@pytest.fixture
def published(network: Sam1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare state dict of a size that counts as published."""
    sizes = {"tiny": TINY, "wide": replace(TINY, size="wide", width=32)}
    monkeypatch.setattr(checkpoints, "SAM1_SIZES", MappingProxyType(sizes))
    path = tmp_path / "sam_tiny.pth"
    torch.save(network.state_dict(), path)
    return path


def assert_equal(found: Sam1, expected: Sam1) -> None:
    assert not found.training
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_bare_state_dict_is_recognised_by_its_shapes(network: Sam1, published: Path) -> None:
    loaded = load_sam1(published)
    assert loaded.config == TINY
    assert_equal(loaded, network)
    assert read_sam1_info(published) == TINY


def test_the_side_of_the_input_may_be_changed(published: Path) -> None:
    loaded = load_sam1(published, image_size=96)
    assert loaded.image_size == loaded.prompt_encoder.image_size == 96
    assert loaded.image_encoder.pos_embed.shape == (1, 4, 4, 16)


def test_our_files_say_what_they_hold_and_are_the_same_twice(network: Sam1, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "first.safetensors", tmp_path / "second.safetensors"
    save_sam1(network, first)
    save_sam1(load_sam1(first), second)
    assert first.read_bytes() == second.read_bytes()
    assert read_sam1_info(second) == TINY
    assert_equal(load_sam1(second), network)


def test_incomplete_and_other_files_are_refused(
    network: Sam1, published: Path, micro_model: Sam2, tmp_path: Path
) -> None:
    state = network.state_dict()
    del state["image_encoder.blocks.1.mlp.lin1.bias"]
    state["mask_decoder.extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=r"size 'tiny': 1 missing: .*lin1.bias; 1 unexpected: .*extra"):
        load_sam1(tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match="missing"):
        read_sam1_info(tmp_path / "wrong.pth")
    (tmp_path / "cut.pth").write_bytes(published.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_sam1(tmp_path / "cut.pth")
    save_checkpoint(micro_model, tmp_path / "sam2.safetensors")
    assert read_sam1_info(tmp_path / "sam2.safetensors") is None
    with pytest.raises(CheckpointError, match="no SAM 1 network"):
        load_sam1(tmp_path / "sam2.safetensors")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_sam1(tmp_path / "absent.pth")


def test_names_tell_sam_1_from_sam_2(network: Sam1, micro_model: Sam2) -> None:
    assert is_sam1(network.state_dict()) and not is_sam1(micro_model.state_dict())
