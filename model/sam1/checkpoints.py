"""SAM 1 weights on disk: the published bare `.pth` files and safetensors, loaded strictly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.config import DecoderConfig
from model.errors import CheckpointError, ModelError
from model.files.weights_file import Shapes, differences, read_metadata, read_shapes, read_tensors, shapes_of
from model.sam1.config import SAM1_SIZES, Sam1Config
from model.sam1.sam1 import Sam1

__all__ = ["is_sam1", "load_sam1", "nearest_sam1_config", "read_sam1_info", "sam1_shapes", "save_sam1"]

# as for SAM 2, all that a file of ours says about itself is one entry, so that equal content gives equal bytes
_METADATA_KEY = "sam1"
_MARKS = ("image_encoder.pos_embed", "prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight")


def load_sam1(path: Path, *, image_size: int | None = None, device: str | torch.device = "cpu") -> Sam1:
    """Return the network in `path` (a published `.pth`, or safetensors), in evaluation mode on `device`.

    The size is found by the shapes. `image_size` in pixels replaces the one of the file. Raises CheckpointError
    naming what differs when the file is missing, damaged, cut short or holds another network.
    """
    path = Path(path)
    state = read_tensors(path)
    config = _fitting_config(path, shapes_of(state))
    with torch.device("meta"):
        model = Sam1(config if image_size is None else replace(config, image_size=image_size))
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return model.to(device).eval()


def read_sam1_info(path: Path) -> Sam1Config | None:
    """Return the numbers of the SAM 1 network in a file, None where the file holds another network.

    The weights are not read. Raises CheckpointError when the file is missing or damaged, or when keys are missing
    or in excess.
    """
    path = Path(path)
    shapes = read_shapes(path)
    return _fitting_config(path, shapes) if is_sam1(shapes) else None


def is_sam1(state: Mapping[str, object]) -> bool:
    """Whether the names in a state dict (or in its shapes) are those of SAM 1, of any size, complete or not."""
    return any(mark in state for mark in _MARKS)


def save_sam1(model: Sam1, path: Path) -> None:
    """Write weights and network numbers to a safetensors file, atomically; equal content gives equal bytes.

    Raises CheckpointError when the file cannot be written.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, part, metadata={_METADATA_KEY: json.dumps(asdict(model.config), sort_keys=True)})
        part.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def sam1_shapes(config: Sam1Config) -> Shapes:
    """Return the shape of every entry of the state dict; no memory is taken for the weights."""
    with torch.device("meta"):
        return shapes_of(Sam1(config).state_dict())


def nearest_sam1_config(path: Path, shapes: Shapes) -> Sam1Config:
    """Return what a file says about itself, or else the published size that has most entries in common with it."""
    return _own_config(path) or min(
        SAM1_SIZES.values(), key=lambda row: len(shapes.items() ^ sam1_shapes(row).items())
    )


def _fitting_config(path: Path, shapes: Shapes) -> Sam1Config:
    if not is_sam1(shapes):
        raise CheckpointError(f"checkpoint {path} holds no SAM 1 network (no {_MARKS[0]})")
    config = nearest_sam1_config(path, shapes)
    problems = differences(shapes, sam1_shapes(config))
    if problems:
        raise CheckpointError(f"checkpoint {path} does not fit SAM 1 size {config.size!r}: {problems}")
    return config


def _own_config(path: Path) -> Sam1Config | None:
    metadata = read_metadata(path)
    return _parse(path, metadata[_METADATA_KEY]) if _METADATA_KEY in metadata else None


def _parse(path: Path, text: str) -> Sam1Config:
    try:
        values: dict[str, Any] = json.loads(text)
        decoder = DecoderConfig(**values.pop("decoder"))
        return Sam1Config(decoder=decoder, global_blocks=tuple(values.pop("global_blocks")), **values)
    except (ValueError, KeyError, TypeError, ModelError) as error:
        raise CheckpointError(f"checkpoint {path} describes itself wrongly: {error}") from error
