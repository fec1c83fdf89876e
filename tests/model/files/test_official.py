"""The table of published files, against our networks."""

from __future__ import annotations

import pytest
import torch

from model.config import sam2_config
from model.errors import CheckpointError
from model.files.checkpoints import load_checkpoint
from model.files.official import OFFICIAL_FILES, OfficialFile, layout_hash, official_by_layout, official_file
from model.files.weights_file import shapes_of
from model.network.sam2 import Sam2
from model.sam1.config import SAM1_SIZES
from model.sam1.sam1 import Sam1

SAM2_FILES = [row for row in OFFICIAL_FILES.values() if row.family != "SAM 1"]


def test_every_published_file_is_there() -> None:
    assert len(SAM2_FILES) == 8 and len(OFFICIAL_FILES) == 11
    assert len({row.layout for row in SAM2_FILES}) == 8
    assert len({row.sha256 for row in OFFICIAL_FILES.values()}) == 11
    for row in OFFICIAL_FILES.values():
        assert len(row.sha256) == 64 and row.url.startswith("https://dl.fbaipublicfiles.com/segment_anything")
        assert row.byte_count is None or row.byte_count > 4 * row.parameter_count


@pytest.mark.parametrize("row", SAM2_FILES, ids=lambda row: row.name)
def test_layouts_are_those_of_our_networks(row: OfficialFile) -> None:
    with torch.device("meta"):
        model = Sam2(sam2_config(row.size, version=row.version))
    shapes = shapes_of(model.state_dict())
    assert layout_hash(shapes) == row.layout and official_by_layout(row.layout) is row
    assert len(shapes) == row.key_count
    assert sum(p.numel() for p in model.parameters()) == row.parameter_count


@pytest.mark.parametrize("size", list(SAM1_SIZES))
def test_layouts_of_sam1_are_those_of_our_networks(size: str) -> None:
    (row,) = (row for row in OFFICIAL_FILES.values() if row.family == "SAM 1" and row.size == size)
    with torch.device("meta"):
        model = Sam1(SAM1_SIZES[size])
    shapes = shapes_of(model.state_dict())
    assert layout_hash(shapes) == row.layout and len(shapes) == row.key_count
    assert sum(p.numel() for p in model.parameters()) == row.parameter_count


def test_layouts_are_read_as_lines() -> None:
    assert layout_hash({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert layout_hash({"b": (2, 3), "a": ()}) == layout_hash({"a": [], "b": [2, 3]})
    assert official_by_layout("") is None


def test_names_are_forgiving_and_mistakes_are_helped() -> None:
    row = official_file("sam2.1_hiera_tiny.pt")
    assert row.filename == "sam2.1_hiera_tiny.pt" and row.version == "2.1"
    assert official_file("sam_vit_b_01ec64.pth").filename == "sam_vit_b_01ec64.pth"
    with pytest.raises(CheckpointError, match=r"did you mean sam2.1_hiera_large\?"):
        official_file("sam2.1_hira_large")


@pytest.mark.parametrize("row", [r for r in SAM2_FILES if r.size == "tiny"], ids=lambda row: row.name)
def test_a_published_file_is_known_by_its_layout(
    row: OfficialFile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("official") / "renamed.pt"
    with torch.device("meta"):
        shapes = shapes_of(Sam2(sam2_config(row.size, version=row.version)).state_dict())
    torch.save({"model": {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}}, path)
    model = load_checkpoint(path)
    assert (model.config.size, model.config.version) == (row.size, row.version)
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(path, "small")
