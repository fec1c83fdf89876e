"""What a weights file is: whose network, of which size, and whether its names and shapes are the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from model.files.checkpoints import checkpoint_hash, expected_shapes, nearest_config, read_info
from model.files.official import OfficialFile, layout_hash, official_by_layout
from model.files.weights_file import Shapes, differences, read_shapes
from model.sam1.checkpoints import is_sam1, nearest_sam1_config, sam1_shapes

__all__ = ["CheckpointReport", "describe_checkpoint"]

_BUFFER = "positional_encoding_gaussian_matrix"  # the only entry that is not learned


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointReport:
    """Facts about one file."""

    path: Path
    byte_count: int
    sha256: str  # of the file
    family: str  # "SAM 1", "SAM 2.0" or "SAM 2.1", or the nearest of them
    size: str  # row of the sizes of that family
    image_size: int  # side of the input in pixels
    keys: int  # entries of the state dict
    parameters: int  # numbers that are learned
    layout: str  # hash of names and shapes
    official: OfficialFile | None  # the published file of that layout
    differences: str  # from the network named above; empty when it loads
    metadata: Mapping[str, str] = field(default_factory=dict)  # what a file of ours says beside its numbers

    @property
    def verdict(self) -> str:
        """In a few words, what it is."""
        if self.differences:
            return f"loads nowhere; compared with {self.family} {self.size}: {self.differences}"
        if self.official is None:
            return f"no published layout; a network of ours, size {self.size}"
        if self.official.sha256 == self.sha256:
            return f"the published file {self.official.filename}"
        return f"the layout of {self.official.name}, with other weights"


def describe_checkpoint(path: Path) -> CheckpointReport:
    """Look into a weights file without running or loading it; CheckpointError when it is missing or damaged."""
    path = Path(path)
    shapes = read_shapes(path)
    family, size, image_size, expected = _sam1(path, shapes) if is_sam1(shapes) else _sam2(path, shapes)
    info = read_info(path)
    layout = layout_hash(shapes)
    return CheckpointReport(
        path=path,
        byte_count=path.stat().st_size,
        sha256=checkpoint_hash(path),
        family=family,
        size=size,
        image_size=image_size,
        keys=len(shapes),
        parameters=sum(prod(shape) for key, shape in shapes.items() if not key.endswith(_BUFFER)),
        layout=layout,
        official=official_by_layout(layout),
        differences=differences(shapes, expected),
        metadata={} if info is None else info.extra,
    )


def _sam2(path: Path, shapes: Shapes) -> tuple[str, str, int, Shapes]:
    info = read_info(path)
    config = nearest_config(shapes) if info is None else info.config
    return f"SAM {config.version}", config.size, config.image_size, expected_shapes(config)


def _sam1(path: Path, shapes: Shapes) -> tuple[str, str, int, Shapes]:
    config = nearest_sam1_config(path, shapes)
    return "SAM 1", config.size, config.image_size, sam1_shapes(config)
