"""Facts about weights files of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.config import sam2_config
from model.errors import CheckpointError
from model.files.checkpoint_report import describe_checkpoint
from model.files.checkpoints import default_checkpoint, expected_shapes, save_checkpoint
from model.files.official import OFFICIAL_FILES
from model.files.weights_file import Shapes
from model.network.sam2 import Sam2
from model.sam1.checkpoints import sam1_shapes
from model.sam1.config import SAM1_SIZES


def zeros(path: Path, shapes: Shapes) -> Path:
    """A file of a layout whose weights take no room."""
    torch.save({"model": {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}}, path)
    return path


def test_a_file_of_ours(micro_model: Sam2, tmp_path: Path) -> None:
    path = tmp_path / "micro.safetensors"
    save_checkpoint(micro_model, path, {"round": "r1"})
    report = describe_checkpoint(path)
    assert (report.family, report.size, report.image_size) == ("SAM 2.1", "micro", 64)
    assert report.metadata == {"round": "r1"} and report.official is None and not report.differences
    assert report.parameters == sum(p.numel() for p in micro_model.parameters())
    assert report.byte_count == path.stat().st_size and "a network of ours" in report.verdict


def test_the_packaged_weights() -> None:
    report = describe_checkpoint(default_checkpoint())
    assert report.size == "nano" and not report.differences


def test_a_published_layout(tmp_path: Path) -> None:
    path = zeros(tmp_path / "weights.pt", expected_shapes(sam2_config("large", version="2.0")))
    report = describe_checkpoint(path)
    row = OFFICIAL_FILES["sam2_hiera_large"]
    assert report.official is row and report.layout == row.layout
    assert (report.keys, report.parameters) == (row.key_count, row.parameter_count)
    assert report.verdict == "the layout of sam2_hiera_large, with other weights"


def test_sam1(tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    torch.save({key: torch.zeros(()).expand(s) for key, s in sam1_shapes(SAM1_SIZES["vit_h"]).items()}, path)
    report = describe_checkpoint(path)
    assert (report.family, report.size, report.image_size) == ("SAM 1", "vit_h", 1024)
    assert report.official is not None and report.official.parameter_count == report.parameters


def test_what_fits_nowhere_says_what_differs(micro_model: Sam2, tmp_path: Path) -> None:
    shapes = expected_shapes(sam2_config("tiny"))
    del shapes["no_obj_ptr"]
    report = describe_checkpoint(zeros(tmp_path / "odd.pt", {**shapes, "more": (1,)}))
    assert report.differences == "1 missing: no_obj_ptr; 1 unexpected: more"
    assert "SAM 2.1 tiny" in report.verdict and report.official is None
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    assert "missing" in describe_checkpoint(tmp_path / "foreign.safetensors").verdict
    with pytest.raises(CheckpointError, match="cannot read"):
        describe_checkpoint(tmp_path / "absent.pt")
