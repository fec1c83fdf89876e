"""Weights on disk: our safetensors files, and the published `.pt` files, both loaded strictly.

A file of ours carries the numbers of its network, so that it loads without being told its size. For a
published file the size is found by its keys and shapes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from model.config import SIZES, VERSIONS, Sam2Config, config_from_dict, config_to_dict, sam2_config
from model.errors import CheckpointError, ModelError
from model.files.official import layout_hash, official_by_layout
from model.files.weights_file import Shapes, State, differences, read_metadata, read_tensors, shapes_of
from model.network.sam2 import Sam2

__all__ = [
    "CheckpointInfo",
    "check_keys",
    "checkpoint_hash",
    "default_checkpoint",
    "expected_shapes",
    "load_checkpoint",
    "nearest_config",
    "read_info",
    "read_state",
    "save_checkpoint",
]

# all metadata is one entry: the order of several entries in a safetensors header is not fixed, and the hash
# of a checkpoint must depend on its content only
_METADATA_KEY = "sam2"
_TRANSFORMERS_PREFIX = "vision_encoder.backbone."


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a file of ours says about itself."""

    config: Sam2Config
    extra: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(model: Sam2, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights, network numbers and `metadata` to a safetensors file, atomically.

    Equal content gives equal bytes. Raises CheckpointError when the file cannot be written.
    """
    header = {"config": config_to_dict(model.config), "extra": dict(metadata or {})}
    text = json.dumps(header, sort_keys=True)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_then_rename(state, path.with_name(f".{path.name}.{os.getpid()}.part"), path, text)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}") from error


def _write_then_rename(state: State, part: Path, path: Path, text: str) -> None:
    try:
        save_file(state, part, metadata={_METADATA_KEY: text})
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(
    path: Path, size: str | None = None, *, image_size: int | None = None, device: str | torch.device = "cpu"
) -> Sam2:
    """Return the network in `path` (ours, or a published `.pt`), in evaluation mode on `device`.

    `size` insists on a row of `SIZES`; `image_size` in pixels replaces the one it was saved with. Raises
    CheckpointError naming what differs when the file is missing, damaged or does not fit.
    """
    path = Path(path)
    state, info = read_tensors(path), read_info(path)
    config = _choose_config(path, state, info, size)
    if image_size is not None:
        config = replace(config, image_size=image_size)
    with torch.device("meta"):  # every value is read from the file, so none is drawn first
        model = Sam2(config)
    _check_fits(path, state, model)
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return model.to(device).eval()


def read_info(path: Path) -> CheckpointInfo | None:
    """Return what a file of ours says about itself without reading its weights; None for other files.

    Raises CheckpointError when the file is missing or damaged.
    """
    path = Path(path)
    return _parse_info(path, read_metadata(path))


def read_state(path: Path) -> State:
    """Return the tensors of a safetensors file, or of a `.pt` under its key "model" or bare, on the CPU.

    Nothing in the file is executed. Raises CheckpointError when it is missing, damaged, cut short, holds anything
    but tensors, or is no weights file at all.
    """
    return read_tensors(Path(path))


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compare a state dict with the shapes by name that a network expects.

    Raises CheckpointError, beginning with `where`, that lists missing and unexpected names and wrong shapes.
    """
    problems = differences(shapes_of(state), expected)
    if problems:
        raise CheckpointError(f"{where}: {problems}")


def checkpoint_hash(path: Path) -> str:
    """Return the SHA-256 of the file in hexadecimal. Raises CheckpointError when it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error


def default_checkpoint() -> Path:
    """Return the nano weights that come with the package. Raises CheckpointError when they are absent."""
    path = Path(str(files("model").joinpath("weights/nano.safetensors")))
    if not path.is_file():
        raise CheckpointError(f"the packaged weights {path} are missing; install the package again")
    return path


def _parse_info(path: Path, metadata: Mapping[str, str]) -> CheckpointInfo | None:
    if _METADATA_KEY not in metadata:
        return None
    try:
        header: dict[str, Any] = json.loads(metadata[_METADATA_KEY])
        return CheckpointInfo(config_from_dict(header["config"]), header["extra"])
    except (ValueError, KeyError, ModelError) as error:
        raise CheckpointError(f"checkpoint {path} describes itself wrongly: {error}") from error


def _choose_config(path: Path, state: State, info: CheckpointInfo | None, size: str | None) -> Sam2Config:
    if info is not None:
        if size is not None and size != info.config.size:
            raise CheckpointError(f"checkpoint {path} holds size {info.config.size!r}, not {size!r}")
        return info.config
    shapes = shapes_of(state)
    official = official_by_layout(layout_hash(shapes))
    if official is not None and size in (None, official.size):
        return sam2_config(official.size, version=official.version)
    candidates = [sam2_config(size, version=v) for v in VERSIONS] if size else _all_configs()
    return _nearest(shapes, candidates)


def _all_configs() -> Iterator[Sam2Config]:
    for size in SIZES:
        for version in reversed(VERSIONS):
            yield sam2_config(size, version=version)


def expected_shapes(config: Sam2Config) -> Shapes:
    """Return the shape of every entry of a network's state dict; no memory is taken for the weights."""
    with torch.device("meta"):
        return shapes_of(Sam2(config).state_dict())


def nearest_config(shapes: Shapes) -> Sam2Config:
    """Return the network, of any size and version, that has most entries in common with `shapes`."""
    return _nearest(shapes, _all_configs())


def _nearest(shapes: Shapes, candidates: Iterable[Sam2Config]) -> Sam2Config:
    return min(candidates, key=lambda config: _distance(shapes, expected_shapes(config)))


def _distance(found: Shapes, expected: Shapes) -> int:
    """Number of entries that one has and the other has not, or has in another shape."""
    return len(found.items() ^ expected.items())


def _check_fits(path: Path, state: State, model: Sam2) -> None:
    config = model.config
    where = f"checkpoint {path} does not fit size {config.size!r} version {config.version}"
    try:
        check_keys(state, shapes_of(model.state_dict()), where)
    except CheckpointError as error:
        nearest = nearest_config(shapes_of(state))
        hint = f"The nearest size is {nearest.size!r} version {nearest.version}."
        if any(key.startswith(_TRANSFORMERS_PREFIX) for key in state):
            hint = (
                "It has the key names of the transformers library; take the `.pt` file published beside it."
            )
        raise CheckpointError(f"{error}. {hint}") from None
